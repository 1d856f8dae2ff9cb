//! Writes an image as an OCI archive, from files at hand: for clusters without a registry, tests and the demo.
//!
//! The archive is a tar of an OCI layout (`oci-layout`, `index.json`, `blobs/sha256/…`), which `ctr images import` and
//! others read. Everything is deterministic: the same files give the same digests.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image to be written.
#[derive(Debug, Clone, Default)]
pub struct ImageSource {
    /// The names it gets (`registry.example/app:1`).
    pub names: Vec<String>,
    /// What is in it, parents before children.
    pub entries: Vec<Entry>,
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// `CMD`.
    pub command: Vec<String>,
    /// `ENV`, as `NAME=value`.
    pub env: Vec<String>,
    /// `USER`.
    pub user: String,
    /// `WORKDIR`.
    pub working_dir: String,
}

/// One thing in an image. Paths are absolute in the image.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A directory with its mode.
    Directory(String, u32),
    /// A file's bytes and mode.
    File(String, Vec<u8>, u32),
    /// A symbolic link and what it says.
    Link(String, String),
}

/// The architecture as OCI names it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
const TAR_BLOCK: usize = 512;

impl ImageSource {
    /// A file of the machine at a path in the image, with its mode.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn add_file(&mut self, from: &Path, to: &str) -> io::Result<()> {
        let mode = fs::metadata(from)?.permissions().mode() & 0o7777;
        self.entries.push(Entry::File(to.to_owned(), fs::read(from)?, mode));
        Ok(())
    }

    /// busybox with a link for each of its applets in `/bin`, and the files programs expect (`/etc/passwd`, `/tmp`).
    ///
    /// # Errors
    /// Where `busybox` is not there or does not run.
    pub fn add_busybox(&mut self, busybox: &Path) -> io::Result<()> {
        let directories = [
            ("/bin", 0o755),
            ("/etc", 0o755),
            ("/home", 0o755),
            ("/root", 0o700),
            ("/tmp", 0o1777),
            ("/usr", 0o755),
            ("/usr/bin", 0o755),
            ("/var", 0o755),
            ("/var/run", 0o755),
            ("/var/www", 0o755),
        ];
        self.entries.extend(directories.map(|(path, mode)| Entry::Directory(path.to_owned(), mode)));
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
        let group = "root:x:0:\nnobody:x:65534:\n";
        for (path, text) in [("/etc/passwd", passwd), ("/etc/group", group)] {
            self.entries.push(Entry::File(path.to_owned(), text.as_bytes().to_vec(), 0o644));
        }
        self.add_file(busybox, "/bin/busybox")?;
        let output = std::process::Command::new(busybox).arg("--list").output()?;
        for applet in
            String::from_utf8_lossy(&output.stdout).lines().filter(|name| !name.is_empty() && *name != "busybox")
        {
            self.entries.push(Entry::Link(format!("/bin/{applet}"), "busybox".to_owned()));
        }
        Ok(())
    }
}

/// Writes images into one archive.
///
/// # Errors
/// Where the file can't be written.
pub fn write(path: &Path, images: &[ImageSource]) -> io::Result<()> {
    let mut blobs: Vec<(String, Vec<u8>)> = Vec::new();
    let mut manifests = Vec::new();
    let mut put = |bytes: Vec<u8>| -> (String, usize) {
        let (digest, size) = (hex(&Sha256::digest(&bytes)), bytes.len());
        if !blobs.iter().any(|(known, _)| *known == digest) {
            blobs.push((digest.clone(), bytes));
        }
        (format!("sha256:{digest}"), size)
    };
    for image in images {
        let layer = layer(&image.entries)?;
        let (layer_digest, layer_size) = put(layer);
        let config = config(image, &layer_digest);
        let (config_digest, config_size) = put(config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_size},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer_size}],
        });
        let (digest, size) = put(manifest.to_string().into_bytes());
        for name in &image.names {
            manifests.push(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
                "platform": {"architecture": ARCHITECTURE, "os": "linux"},
                "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
            }));
        }
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    let mut tar = Tar(io::BufWriter::new(fs::File::create(path)?));
    tar.file("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes(), 0o644)?;
    tar.file("index.json", index.to_string().as_bytes(), 0o644)?;
    for (digest, bytes) in &blobs {
        tar.file(&format!("blobs/sha256/{digest}"), bytes, 0o644)?;
    }
    tar.finish()?.flush()
}

fn config(image: &ImageSource, layer: &str) -> Value {
    let mut own = json!({"Env": image.env});
    if image.env.is_empty() {
        own["Env"] = json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
    }
    for (key, words) in [("Entrypoint", &image.entrypoint), ("Cmd", &image.command)] {
        if !words.is_empty() {
            own[key] = json!(words);
        }
    }
    for (key, text) in [("User", &image.user), ("WorkingDir", &image.working_dir)] {
        if !text.is_empty() {
            own[key] = json!(text);
        }
    }
    json!({
        "created": "1970-01-01T00:00:00Z", "architecture": ARCHITECTURE, "os": "linux", "config": own,
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    })
}

fn layer(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut tar = Tar(Vec::new());
    let relative = |path: &str| path.trim_start_matches('/').to_owned();
    for entry in entries {
        match entry {
            Entry::Directory(path, mode) => tar.entry(&format!("{}/", relative(path)), b'5', &[], *mode, "")?,
            Entry::File(path, bytes, mode) => tar.file(&relative(path), bytes, *mode)?,
            Entry::Link(path, target) => tar.entry(&relative(path), b'2', &[], 0o777, target)?,
        }
    }
    tar.finish()
}

/// A tar being written: the ustar format, all of root and of 1970.
struct Tar<W>(W);

impl<W: Write> Tar<W> {
    fn file(&mut self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.entry(path, b'0', bytes, mode, "")
    }

    fn entry(&mut self, path: &str, kind: u8, bytes: &[u8], mode: u32, target: &str) -> io::Result<()> {
        if path.len() > 100 || target.len() > 100 {
            return Err(io::Error::other(format!("{path}: names of more than 100 bytes are not supported")));
        }
        let mut header = [0u8; TAR_BLOCK];
        let mut set = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        set(0, path.as_bytes());
        set(100, format!("{mode:07o}\0").as_bytes());
        set(108, b"0000000\0");
        set(116, b"0000000\0");
        set(124, format!("{:011o}\0", bytes.len()).as_bytes());
        set(136, b"00000000000\0");
        set(148, b"        ");
        set(156, &[kind]);
        set(157, target.as_bytes());
        set(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.write_all(&header)?;
        self.0.write_all(bytes)?;
        let padding = (TAR_BLOCK - bytes.len() % TAR_BLOCK) % TAR_BLOCK;
        self.0.write_all(&[0u8; TAR_BLOCK][..padding])
    }

    fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0u8; 2 * TAR_BLOCK])?;
        Ok(self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where Debian's busybox-static is.
pub fn busybox() -> PathBuf {
    PathBuf::from("/usr/bin/busybox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_a_tar_of_a_layout() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("i.tar");
        let image = ImageSource {
            names: vec!["example.com/i:1".into()],
            entries: vec![
                Entry::Directory("/bin".into(), 0o755),
                Entry::File("/bin/x".into(), b"hello".to_vec(), 0o755),
                Entry::Link("/bin/y".into(), "x".into()),
            ],
            entrypoint: vec!["/bin/x".into()],
            ..ImageSource::default()
        };
        write(&path, &[image]).unwrap();
        let listed = std::process::Command::new("tar").arg("-tvf").arg(&path).output().unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.status.success() && text.contains("oci-layout") && text.contains("index.json"), "{text}");
        assert_eq!(text.matches("blobs/sha256/").count(), 3);
    }
}
