//! Static tokens from a file (`--token-auth-file`): token, user, uid, groups.
//!
//! Upstream: k8s.io/apiserver/pkg/authentication/token/tokenfile.

use std::collections::HashMap;

use api::user::UserInfo;

/// Users by token.
#[derive(Debug, Default)]
pub struct TokenFile {
    users: HashMap<String, UserInfo>,
}

// === impl TokenFile ===

impl TokenFile {
    /// Parses the CSV text of the file at `path`.
    ///
    /// # Errors
    /// A record with less than three columns.
    pub fn parse(path: &str, text: &str) -> Result<TokenFile, String> {
        let mut users = HashMap::new();
        for record in text.lines().filter(|line| !line.is_empty()).map(columns) {
            let [token, name, uid, rest @ ..] = record.as_slice() else {
                let found = record.len();
                return Err(format!(
                    "token file '{path}' must have at least 3 columns (token, user name, user uid), found {found}"
                ));
            };
            if token.is_empty() {
                tracing::warn!(path, "empty token in token file");
                continue;
            }
            let groups = rest.first().map(|groups| groups.split(',').map(String::from).collect());
            let user = UserInfo {
                name: name.clone(),
                uid: uid.clone(),
                groups: groups.unwrap_or_default(),
                ..UserInfo::default()
            };
            users.insert(token.clone(), user);
        }
        Ok(TokenFile { users })
    }

    pub fn user(&self, token: &str) -> Option<&UserInfo> {
        self.users.get(token)
    }
}

/// Columns of a CSV record; quoted ones may hold commas, `""` is a quote in them.
fn columns(record: &str) -> Vec<String> {
    let (mut columns, mut current, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = record.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                current.push('"');
            }
            '"' if quoted || current.is_empty() => quoted = !quoted,
            ',' if !quoted => columns.push(std::mem::take(&mut current)),
            c => current.push(c),
        }
    }
    columns.push(current);
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_cases() {
        let text = "token1,user1,uid1\ntoken2,user2,uid2\ntoken3,user3,uid3,\"group1,group2\"\n\
                    token4,user4,uid4,\"group2\"\ntoken5,user5,uid5,group5\ntoken6,user6,uid6,group5,otherdata\n,x,y\n";
        let file = TokenFile::parse("f", text).unwrap();
        let user =
            |token: &str| file.user(token).map(|user| (user.name.as_str(), user.uid.as_str(), user.groups.join("+")));
        assert_eq!(user("token1"), Some(("user1", "uid1", String::new())));
        assert_eq!(user("token3"), Some(("user3", "uid3", "group1+group2".into())));
        assert_eq!(user("token6"), Some(("user6", "uid6", "group5".into())));
        assert_eq!(user("token7"), None);
        assert_eq!(user(""), None);
        assert!(TokenFile::parse("f", "token,user").unwrap_err().ends_with("found 2"));
    }
}
