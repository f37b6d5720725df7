use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use tests::world::{Binaries, binaries};

use super::{documents, lines};

/// The words of each command in a line, as a shell would split them: what follows `#` is a comment, and pipes, redirections and
/// the like end a command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '|' | ';' | '&' | '>' | '<' | '(' | ')') => {
                words.extend(word.take());
                if letter != ' ' {
                    commands.push(std::mem::take(&mut words));
                }
            }
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    commands.push(words);
    commands
}

/// What the programs are given in a line.
fn invocations(line: &str) -> Vec<(&'static str, Vec<String>)> {
    let mut found = Vec::new();
    for words in commands(line) {
        let is = |word: &str, program| word.rsplit(['/', '=']).next() == Some(program);
        // Variables come before, and who runs it for another user.
        let first = words.iter().position(|word| !word.contains('=') || is(word, "sudo")).unwrap_or(words.len());
        let for_another = words.get(first).is_some_and(|word| is(word, "sudo") || is(word, "runuser"));
        for program in ["feed-server", "feed-client"] {
            let at = words.iter().position(|word| is(word, program));
            if let Some(at) = at.filter(|at| *at == first || for_another) {
                found.push((program, words[at + 1..].to_vec()));
            }
        }
    }
    found
}

/// Lines of a shell, with those that are continued put together.
fn joined(text: &str) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut goes_on = false;
    // Blocks of another language show files and answers.
    for (_, line) in lines(text).filter(|(language, _)| matches!(language, Some("" | "sh"))) {
        let part = line.strip_suffix('\\');
        match joined.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(part.unwrap_or(line)),
            None => joined.push(part.unwrap_or(line).to_owned()),
        }
        goes_on = part.is_some();
    }
    joined
}

/// Whether the program understands that, asked for help at the end, so that nothing is done. What stands for something is
/// put in its place.
fn parses(binaries: &Binaries, program: &str, arguments: &[String]) -> Result<(), String> {
    let path = if program == "feed-server" { &binaries.feed_server } else { &binaries.feed_client };
    let stands_for = |word: &String| match word.as_str() {
        "N" => "1".to_owned(),
        "URL" => "https://feed.example.net:8443".to_owned(),
        "ROLE" | "ROLE…" => "snapshot".to_owned(),
        word => word.to_owned(),
    };
    let output = Command::new(path)
        .args(arguments.iter().filter(|word| *word != "…" && *word != "...").map(stands_for))
        .arg("--help")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Prose speaks of options without their values.
    if output.status.success() || said.contains("a value is required") {
        Ok(())
    } else {
        Err(said.lines().next().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn commands_in_the_documentation_parse() -> Result<()> {
    let binaries = binaries().await?;
    let (mut wrong, mut tried) = (Vec::new(), Vec::new());
    for document in documents()? {
        // What was so once is there to be read.
        if document.name() == "CHANGELOG.md" {
            continue;
        }
        let prose = lines(&document.text).filter(|(language, _)| language.is_none());
        let inline = prose.flat_map(|(_, line)| {
            let code = line.split('`').enumerate().filter(|(index, _)| index % 2 == 1).map(|(_, code)| code);
            code.filter(|code| code.starts_with("feed-server ") || code.starts_with("feed-client ")).map(str::to_owned)
        });
        for line in joined(&document.text).into_iter().chain(inline) {
            for (program, arguments) in invocations(&line) {
                if tried.contains(&(program, arguments.clone())) {
                    continue;
                }
                if let Err(said) = parses(binaries, program, &arguments) {
                    wrong.push(format!("{}: {program} {}: {said}", document.name(), arguments.join(" ")));
                }
                tried.push((program, arguments));
            }
        }
    }
    ensure!(wrong.is_empty(), "commands that the programs do not understand:\n{}", wrong.join("\n"));
    ensure!(tried.len() > 100, "{} commands were found", tried.len());
    Ok(())
}

#[test]
fn lines_are_read_as_a_shell_reads_them() {
    let found = invocations("runuser -u x -- /usr/bin/feed-server sync --a 'b c' # feed-server no | tee f");
    assert_eq!(found, [("feed-server", vec!["sync".to_owned(), "--a".to_owned(), "b c".to_owned()])]);
    let found = invocations("A=1 feed-client status | grep x && feed-server status > y");
    assert_eq!(found, [("feed-client", vec!["status".to_owned()]), ("feed-server", vec!["status".to_owned()])]);
}
