//! The process that holds a pod's namespaces: it sleeps, reaps what is left to it, and ends when told to.
//!
//! So small that it is written down here: a static program of 214 bytes, for clusters that can pull no image.

use super::archive::{Entry, ImageSource};

/// The name of the image.
pub const NAME: &str = "localhost/xebec/pause:1";

/// `rt_sigprocmask` blocks SIGINT, SIGTERM and SIGCHLD; then for ever `rt_sigtimedwait`, and `wait4` until no child is
/// left for SIGCHLD, `exit(0)` for the others. Assembled by GNU as.
const CODE_X86_64: [u8; 94] = [
    0x68, 0x02, 0x40, 0x01, 0x00, // push $0x14002
    0x48, 0x89, 0xe6, 0x31, 0xff, 0x31, 0xd2, 0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // set, block, none, 8 bytes
    0xb8, 0x0e, 0x00, 0x00, 0x00, 0x0f, 0x05, // rt_sigprocmask
    0x48, 0x89, 0xe7, 0x31, 0xf6, 0x31, 0xd2, 0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // wait: set, none, for ever
    0xb8, 0x80, 0x00, 0x00, 0x00, 0x0f, 0x05, // rt_sigtimedwait
    0x83, 0xf8, 0x11, 0x75, 0x1f, // not SIGCHLD: end
    0xb8, 0x3d, 0x00, 0x00, 0x00, 0x48, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff, // reap: any child
    0x31, 0xf6, 0xba, 0x01, 0x00, 0x00, 0x00, 0x45, 0x31, 0xd2, 0x0f, 0x05, // wait4, WNOHANG
    0x48, 0x85, 0xc0, 0x7f, 0xe3, 0xeb, 0xc8, // again, or back to waiting
    0x85, 0xc0, 0x7c, 0xc4, // end: interrupted only
    0xb8, 0x3c, 0x00, 0x00, 0x00, 0x31, 0xff, 0x0f, 0x05, // exit
];
/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
const HEADERS_BYTES: u64 = 64 + 56;

/// The program; none for a machine it is not written down for.
pub fn program() -> Option<Vec<u8>> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let size = HEADERS_BYTES + CODE_X86_64.len() as u64;
    let mut elf = Vec::new();
    // The file's header: 64 bits, little endian, an executable for x86-64.
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    elf.extend([2u16, 62].map(u16::to_le_bytes).concat());
    elf.extend(1u32.to_le_bytes());
    elf.extend([BASE + HEADERS_BYTES, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend(0u32.to_le_bytes());
    elf.extend([64u16, 56, 1, 64, 0, 0].map(u16::to_le_bytes).concat());
    // One segment, readable and executable: the whole file.
    elf.extend([1u32, 5].map(u32::to_le_bytes).concat());
    elf.extend([0, BASE, BASE, size, size, 0x1000].map(u64::to_le_bytes).concat());
    elf.extend_from_slice(&CODE_X86_64);
    Some(elf)
}

/// The image.
pub fn image() -> Option<ImageSource> {
    Some(ImageSource {
        names: vec![NAME.to_owned()],
        entries: vec![Entry::File("/pause".into(), program()?, 0o755)],
        entrypoint: vec!["/pause".into()],
        ..ImageSource::default()
    })
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt, process::Command, time::Duration};

    #[tokio::test]
    async fn it_sleeps_until_it_is_told_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pause");
        let elf = program().unwrap();
        assert_eq!(elf.len(), 214);
        std::fs::write(&path, elf).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&path).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(child.try_wait().unwrap().is_none());
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::CHILD).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(child.try_wait().unwrap().is_none());
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
