use std::collections::BTreeMap;

use globset::{Glob, GlobSetBuilder};
use proptest::prelude::*;

use super::*;

struct World {
    _directory: tempfile::TempDir,
    paths: Paths,
    patterns: GlobSet,
}

impl World {
    /// A release with these default policies, and files that are none.
    fn new(defaults: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(&directory.path().join("data"), Some(&directory.path().join("apply")));
        let patterns = GlobSetBuilder::new().add(Glob::new("**/defaults/**").unwrap()).build().unwrap();
        let world = Self { _directory: directory, paths, patterns };
        let others = ["manifest.json", "payloads/defaults/x.tar", "conditions/conditions/checks.xml"];
        for file in others.iter().map(PathBuf::from).chain(defaults.iter().map(|name| in_release(name))) {
            let path = world.paths.release(Serial::FIRST).join(&file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file.to_str().unwrap()).unwrap();
        }
        world
    }

    fn step(&self) -> Step {
        step(&self.paths, Serial::FIRST, &self.patterns).unwrap()
    }

    fn policy(&self) -> BTreeMap<PathBuf, String> {
        let files = files_below(&self.paths.policy()).unwrap();
        files
            .into_iter()
            .map(|file| (file.clone(), fs::read_to_string(self.paths.policy().join(file)).unwrap()))
            .collect()
    }
}

fn in_release(name: &str) -> PathBuf {
    Path::new("conditions/conditions/defaults").join(name)
}

#[test]
fn they_are_created_once_and_then_belong_to_the_administrator() {
    let world = World::new(&["deep/a.xml", "b.xml"]);
    assert_eq!(create_once(&world.paths, Serial::FIRST, &world.patterns).unwrap(), 2);
    assert_eq!(world.policy().keys().cloned().collect::<Vec<_>>(), [in_release("b.xml"), in_release("deep/a.xml")]);

    fs::write(world.paths.policy().join(in_release("b.xml")), "edited").unwrap();
    fs::remove_file(world.paths.policy().join(in_release("deep/a.xml"))).unwrap();
    assert_eq!(create_once(&world.paths, Serial::FIRST, &world.patterns).unwrap(), 0);
    assert_eq!(world.policy(), BTreeMap::from([(in_release("b.xml"), "edited".to_owned())]));
    let release = world.paths.release(Serial::FIRST).join(in_release("b.xml"));
    assert_eq!(fs::read_to_string(release).unwrap(), in_release("b.xml").to_str().unwrap(), "the release is untouched");

    fs::remove_dir_all(world.paths.policy()).unwrap();
    assert_eq!(create_once(&world.paths, Serial::FIRST, &world.patterns).unwrap(), 0);
    assert!(!world.paths.policy().exists());
    assert!(!world.paths.policy_staging().exists());
}

#[test]
fn a_first_release_without_defaults_is_the_first_all_the_same() {
    let world = World::new(&[]);
    assert_eq!(create_once(&world.paths, Serial::FIRST, &world.patterns).unwrap(), 0);
    let late = world.paths.release(Serial::FIRST).join(in_release("late.xml"));
    fs::create_dir_all(late.parent().unwrap()).unwrap();
    fs::write(late, "late").unwrap();
    assert_eq!(create_once(&world.paths, Serial::FIRST, &world.patterns).unwrap(), 0);
}

#[test]
fn a_damaged_marker_does_not_bring_policies_back() {
    let world = World::new(&["a.xml"]);
    fs::create_dir_all(world.paths.data()).unwrap();
    fs::write(world.paths.defaults_marker(), "{").unwrap();
    assert!(create_once(&world.paths, Serial::FIRST, &world.patterns).is_err());
    assert!(world.policy().is_empty());
}

/// What happens to the headend between two steps of the client.
#[derive(Debug, Clone)]
enum Event {
    /// The client makes a step (each on a fresh start: nothing is in memory).
    Step,
    /// The client died in the middle of copying.
    DiedCopying,
    Edit(usize),
    Delete(usize),
}

proptest! {
    // Each case is some hundred fsyncs, which take their time on disks of spinning rust and on busy machines.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever administrators and crashes do in between: each policy is created exactly once, with the release's
    /// content, unless a file was there before; and what an administrator did to a created one stays done.
    #[test]
    fn each_is_created_exactly_once(
        events in proptest::collection::vec(
            prop_oneof![
                4 => Just(Event::Step),
                1 => Just(Event::DiedCopying),
                1 => (0_usize..4).prop_map(Event::Edit),
                1 => (0_usize..4).prop_map(Event::Delete),
            ],
            0..30,
        ),
    ) {
        let names = ["a.xml", "b.xml", "c/d.xml", "c/e.xml"];
        let world = World::new(&names);
        let mut expected: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut created: BTreeMap<PathBuf, usize> = BTreeMap::new();
        let all_steps = std::iter::repeat_n(Event::Step, 10);
        for event in events.into_iter().chain(all_steps) {
            match event {
                Event::Step => match world.step() {
                    Step::Created(file) => {
                        prop_assert!(!expected.contains_key(&file), "{file:?} was there");
                        expected.insert(file.clone(), file.to_str().unwrap().to_owned());
                        *created.entry(file).or_default() += 1;
                    }
                    Step::LeftAlone(file) => {
                        prop_assert_eq!(expected.get(&file).map(String::as_str), Some("edited"));
                        *created.entry(file).or_default() += 1;
                    }
                    Step::Committed | Step::Done => {}
                },
                // Before the decision a killed client leaves some copies, perhaps half of one; after it, none.
                Event::DiedCopying if !world.paths.defaults_marker().exists() => {
                    let half = world.paths.policy_staging().join("half/of.xml");
                    fs::create_dir_all(half.parent().unwrap()).unwrap();
                    fs::write(half, "ha").unwrap();
                }
                Event::DiedCopying => {}
                Event::Edit(index) => {
                    let file = in_release(names[index]);
                    let path = world.paths.policy().join(&file);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, "edited").unwrap();
                    expected.insert(file, "edited".to_owned());
                }
                Event::Delete(index) => {
                    let file = in_release(names[index]);
                    let _ = fs::remove_file(world.paths.policy().join(&file));
                    expected.remove(&file);
                }
            }
            prop_assert_eq!(&world.policy(), &expected);
        }
        let once: BTreeMap<_, _> = names.iter().map(|name| (in_release(name), 1)).collect();
        prop_assert_eq!(created, once);
    }
}
