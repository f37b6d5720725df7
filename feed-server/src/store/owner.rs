//! Whose files they are.

/// A user's name, where this machine knows one; else the number.
#[must_use]
pub fn user_name(user: u32) -> String {
    name_in_passwd(user).unwrap_or_else(|| format!("#{user}"))
}

fn name_in_passwd(user: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == user.to_string()).then(|| name.to_owned())
    })
}
