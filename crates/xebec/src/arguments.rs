//! The configuration file of `xebec server`, `agent` and `apiserver`: flags by their names, put before those of the
//! command line. (Upstream's components have configuration kinds of their own behind the same flag.)

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;

use crate::commands::Error;

/// The commands whose `--config` is such a file.
const COMMANDS: [&str; 3] = ["server", "agent", "apiserver"];

/// What a flag may be in the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Setting {
    Switch(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
}

/// The arguments with the file's flags in them; those that the command line has as well are the command line's.
///
/// # Errors
/// The file can't be read or is no mapping of flags.
pub fn with_config_file(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = arguments.get(1).and_then(|command| command.to_str()).unwrap_or_default();
    let Some(path) = config_path(&arguments).filter(|_| COMMANDS.contains(&command)) else { return Ok(arguments) };
    let path = Path::new(&path);
    let problem = |error: &dyn std::fmt::Display| Error::from(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| problem(&error))?;
    let given: Vec<&str> = arguments.iter().filter_map(|argument| flag(argument.to_str()?)).collect();
    let from_file = flags(&text, &given).map_err(|error| problem(&error))?;
    let (head, tail) = arguments.split_at(2);
    Ok(head.iter().cloned().chain(from_file.into_iter().map(OsString::from)).chain(tail.iter().cloned()).collect())
}

fn config_path(arguments: &[OsString]) -> Option<OsString> {
    let at = arguments.iter().position(|argument| argument.to_str().and_then(flag) == Some("config"))?;
    match arguments[at].to_str()?.split_once('=') {
        Some((_, path)) => Some(path.into()),
        None => arguments.get(at + 1).cloned(),
    }
}

/// The name of the flag that an argument is.
fn flag(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix("--")?;
    Some(name.split_once('=').map_or(name, |(name, _)| name))
}

/// The file's flags as arguments, but for those that are `given` otherwise.
fn flags(text: &str, given: &[&str]) -> Result<Vec<String>, Error> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let settings: BTreeMap<String, Setting> = serde_saphyr::from_str(text)?;
    let mut flags = Vec::new();
    for (name, setting) in settings.into_iter().filter(|(name, _)| !given.contains(&name.as_str())) {
        match setting {
            Setting::Switch(true) => flags.push(format!("--{name}")),
            Setting::Switch(false) => {}
            Setting::Number(number) => flags.push(format!("--{name}={number}")),
            Setting::Text(text) => flags.push(format!("--{name}={text}")),
            Setting::List(items) => flags.extend(items.iter().map(|item| format!("--{name}={item}"))),
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", &[], &[])]
    #[case("# nothing\n", &[], &[])]
    #[case("secure-port: 7443\ndisable-agent: true\n", &[], &["--disable-agent", "--secure-port=7443"])]
    #[case("secure-port: 7443\n", &["secure-port"], &[])]
    #[case("disable-agent: false\nnode-labels: [a=b, c=d]\n", &[], &["--node-labels=a=b", "--node-labels=c=d"])]
    #[case("data-dir: /var/lib/x\n", &["secure-port"], &["--data-dir=/var/lib/x"])]
    fn a_line_is_a_flag(#[case] text: &str, #[case] given: &[&str], #[case] expected: &[&str]) {
        assert_eq!(flags(text, given).unwrap(), expected);
    }

    #[test]
    fn the_file_comes_before_the_command_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, "secure-port: 7443\nnode-name: n1\n").unwrap();
        let run = |arguments: &[&str]| with_config_file(arguments.iter().map(OsString::from)).unwrap();
        let path = path.to_str().unwrap();
        let got = run(&["xebec", "server", "--config", path, "--node-name=n2"]);
        assert_eq!(got, ["xebec", "server", "--secure-port=7443", "--config", path, "--node-name=n2"]);
        // A kubelet's file is a KubeletConfiguration.
        assert_eq!(run(&["xebec", "kubelet", "--config", path]), ["xebec", "kubelet", "--config", path]);
        assert!(with_config_file(["xebec", "server", "--config=/nowhere"].map(OsString::from)).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(flags("- a\n", &[]).is_err());
    }
}
