//! `hostPath`: the node's own files, and the check that they are what the pod expects.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

/// Checks the path's type, and makes it where the type says so.
///
/// # Errors
/// In upstream's words.
pub fn check(path: &Path, type_: &str) -> Result<(), String> {
    let shown = path.display();
    let kind = fs::metadata(path).map(|metadata| metadata.file_type());
    let is = |test: fn(&fs::FileType) -> bool| kind.as_ref().is_ok_and(test);
    let missing = kind.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let fail = |what: &str| Err(format!("hostPath type check failed: {shown} is not {what}"));
    match type_ {
        "" => Ok(()),
        "DirectoryOrCreate" if missing => fs::create_dir_all(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
            .map_err(|error| error.to_string()),
        "FileOrCreate" if missing => {
            let made = fs::OpenOptions::new().create(true).append(true).open(path);
            made.and_then(|_| fs::set_permissions(path, fs::Permissions::from_mode(0o644)))
                .map_err(|error| error.to_string())
        }
        "DirectoryOrCreate" | "Directory" if !is(fs::FileType::is_dir) => fail("a directory"),
        "FileOrCreate" | "File" if !is(fs::FileType::is_file) => fail("a file"),
        "Socket" if !is(|kind| kind.is_socket()) => fail("a socket file"),
        "CharDevice" if !is(|kind| kind.is_char_device()) => fail("a character device"),
        "BlockDevice" if !is(|kind| kind.is_block_device()) => fail("a block device"),
        "DirectoryOrCreate" | "Directory" | "FileOrCreate" | "File" | "Socket" | "CharDevice" | "BlockDevice" => Ok(()),
        other => Err(format!("{other} is an invalid volume type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/dev/null", "CharDevice", None)]
    #[case("/etc/hostname", "", None)]
    #[case("/etc", "Directory", None)]
    #[case("/etc", "File", Some("hostPath type check failed: /etc is not a file"))]
    #[case("/nowhere", "Directory", Some("hostPath type check failed: /nowhere is not a directory"))]
    #[case("/etc", "Socket", Some("hostPath type check failed: /etc is not a socket file"))]
    #[case("/dev/null", "BlockDevice", Some("hostPath type check failed: /dev/null is not a block device"))]
    fn types(#[case] path: &str, #[case] type_: &str, #[case] expected: Option<&str>) {
        assert_eq!(check(Path::new(path), type_).err().as_deref(), expected);
    }

    #[test]
    fn makes_what_it_may() {
        let root = tempfile::tempdir().unwrap();
        check(&root.path().join("a/b"), "DirectoryOrCreate").unwrap();
        check(&root.path().join("a/f"), "FileOrCreate").unwrap();
        assert!(root.path().join("a/b").is_dir() && root.path().join("a/f").is_file());
    }
}
