//! The configuration of a private containerd: version 2 of the file for containerd 1.6 and 1.7,
//! version 3 for 2.x, where the same settings live in other places. A containerd that is not on the
//! path needs its own folder first in its `PATH`: it looks for its shim there.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Snapshotters and others that look for kernel features or folders that nobody asked for.
const UNUSED_PLUGINS: [&str; 7] = [
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
];
/// Only 2.x: known by these names there, and one socket for all containerds of a machine.
const UNUSED_PLUGINS_2: [&str; 2] = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.erofs"];
/// The runtime of pods that name none.
const DEFAULT_HANDLER: &str = "runc";

/// What one containerd has for itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the program that will read it; see [`major_version`].
    pub major: u32,
    /// Images, snapshots, metadata: what outlives the machine's restart.
    pub root: PathBuf,
    pub state: PathBuf,
    pub socket: PathBuf,
    /// `overlayfs`, or `native` below a folder that is itself an overlay.
    pub snapshotter: String,
    pub sandbox_image: String,
    pub cni_bin_dir: PathBuf,
    pub cni_conf_dir: PathBuf,
    /// Instead of the `runc` on the path.
    pub runc: Option<PathBuf>,
    /// A folder as `/etc/containerd/certs.d`: one folder a registry, with a `hosts.toml`.
    pub registry_dir: Option<PathBuf>,
    /// Handlers that RuntimeClasses may name besides `runc`; each is runc under another name.
    pub handlers: Vec<String>,
}

/// The major version in what `containerd --version` prints.
///
/// ```
/// use kubelet::runtime::containerd::major_version;
/// assert_eq!(major_version("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3"), Some(1));
/// assert_eq!(major_version("containerd github.com/containerd/containerd/v2 v2.1.9 77c84241"), Some(2));
/// ```
pub fn major_version(printed: &str) -> Option<u32> {
    let version = printed.split_whitespace().nth(2)?;
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

/// The text of `config.toml`.
pub fn configuration(options: &Options) -> String {
    let mut text = String::new();
    let mut tables = Tables(&mut text);
    let unused: Vec<&str> = match options.major {
        ..2 => UNUSED_PLUGINS.to_vec(),
        _ => UNUSED_PLUGINS.into_iter().chain(UNUSED_PLUGINS_2).collect(),
    };
    tables.value("version", if options.major < 2 { "2" } else { "3" });
    tables.path("root", &options.root);
    tables.path("state", &options.state);
    tables.value("oom_score", "0");
    tables.value("disabled_plugins", &format!("{unused:?}"));
    tables.open("grpc");
    tables.path("address", &options.socket);
    match options.major {
        ..2 => version_2(&mut tables, options),
        _ => version_3(&mut tables, options),
    }
    text
}

fn version_2(tables: &mut Tables<'_>, options: &Options) {
    const CRI: &str = "plugins.'io.containerd.grpc.v1.cri'";
    tables.open(CRI);
    tables.string("sandbox_image", &options.sandbox_image);
    tables.value("enable_unprivileged_ports", "true");
    tables.value("enable_unprivileged_icmp", "true");
    process_settings(tables);
    stream_settings(tables);
    tables.open(&format!("{CRI}.cni"));
    tables.path("bin_dir", &options.cni_bin_dir);
    tables.path("conf_dir", &options.cni_conf_dir);
    if let Some(dir) = &options.registry_dir {
        tables.open(&format!("{CRI}.registry"));
        tables.path("config_path", dir);
    }
    tables.open(&format!("{CRI}.containerd"));
    tables.string("snapshotter", &options.snapshotter);
    tables.string("default_runtime_name", DEFAULT_HANDLER);
    handlers(tables, CRI, options);
}

fn version_3(tables: &mut Tables<'_>, options: &Options) {
    const IMAGES: &str = "plugins.'io.containerd.cri.v1.images'";
    const RUNTIME: &str = "plugins.'io.containerd.cri.v1.runtime'";
    tables.open("plugins.'io.containerd.grpc.v1.cri'");
    stream_settings(tables);
    tables.open(IMAGES);
    tables.string("snapshotter", &options.snapshotter);
    tables.open(&format!("{IMAGES}.pinned_images"));
    tables.string("sandbox", &options.sandbox_image);
    if let Some(dir) = &options.registry_dir {
        tables.open(&format!("{IMAGES}.registry"));
        tables.path("config_path", dir);
    }
    tables.open(RUNTIME);
    process_settings(tables);
    tables.open(&format!("{RUNTIME}.cni"));
    tables.value("bin_dirs", &format!("[{:?}]", options.cni_bin_dir.display().to_string()));
    tables.path("conf_dir", &options.cni_conf_dir);
    tables.open(&format!("{RUNTIME}.containerd"));
    tables.string("default_runtime_name", DEFAULT_HANDLER);
    handlers(tables, RUNTIME, options);
}

/// AppArmor and lower OOM scores need rights that a containerd in a container may not have.
fn process_settings(tables: &mut Tables<'_>) {
    for setting in ["restrict_oom_score_adj", "disable_apparmor", "netns_mounts_under_state_dir"] {
        tables.value(setting, "true");
    }
}

/// Any free port: several containerds live side by side.
fn stream_settings(tables: &mut Tables<'_>) {
    tables.string("stream_server_address", "127.0.0.1");
    tables.string("stream_server_port", "0");
}

fn handlers(tables: &mut Tables<'_>, cri: &str, options: &Options) {
    for handler in std::iter::once(DEFAULT_HANDLER).chain(options.handlers.iter().map(String::as_str)) {
        let table = format!("{cri}.containerd.runtimes.'{handler}'");
        tables.open(&table);
        tables.string("runtime_type", "io.containerd.runc.v2");
        tables.open(&format!("{table}.options"));
        tables.value("SystemdCgroup", "false");
        if let Some(runc) = &options.runc {
            tables.path("BinaryName", runc);
        }
    }
}

/// Lines of TOML.
struct Tables<'a>(&'a mut String);

// === impl Tables ===

impl Tables<'_> {
    fn open(&mut self, name: &str) {
        let _ = writeln!(self.0, "[{name}]");
    }

    fn value(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name} = {value}");
    }

    fn string(&mut self, name: &str, value: &str) {
        self.value(name, &format!("{value:?}"));
    }

    fn path(&mut self, name: &str, path: &Path) {
        self.string(name, &path.display().to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(major: u32) -> Options {
        Options {
            major,
            root: "/data/root".into(),
            state: "/run/state".into(),
            socket: "/run/c.sock".into(),
            snapshotter: "overlayfs".into(),
            sandbox_image: "registry.k8s.io/pause:3.10".into(),
            cni_bin_dir: "/usr/lib/cni".into(),
            cni_conf_dir: "/data/cni".into(),
            runc: Some("/opt/runc".into()),
            registry_dir: Some("/data/certs.d".into()),
            handlers: vec!["test-handler".into()],
        }
    }

    /// TOML allows a table once; `name = value` of the table it stands below.
    fn settings(text: &str) -> Vec<String> {
        let mut table = String::new();
        let mut tables = Vec::new();
        let mut settings = Vec::new();
        for line in text.lines() {
            match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(name) => {
                    assert!(!tables.contains(&name), "{name} is there twice");
                    tables.push(name);
                    table = format!("{name}.");
                }
                None => settings.push(format!("{table}{line}")),
            }
        }
        settings
    }

    #[test]
    fn each_version_finds_its_settings_where_it_looks() {
        let cri = "plugins.'io.containerd.grpc.v1.cri'";
        let runtime = "plugins.'io.containerd.cri.v1.runtime'";
        let images = "plugins.'io.containerd.cri.v1.images'";
        let table = [
            (1, "version = 2".to_owned()),
            (1, format!("{cri}.sandbox_image = \"registry.k8s.io/pause:3.10\"")),
            (1, format!("{cri}.cni.bin_dir = \"/usr/lib/cni\"")),
            (1, format!("{cri}.containerd.snapshotter = \"overlayfs\"")),
            (1, format!("{cri}.registry.config_path = \"/data/certs.d\"")),
            (1, format!("{cri}.containerd.runtimes.'test-handler'.options.BinaryName = \"/opt/runc\"")),
            (2, "version = 3".to_owned()),
            (2, format!("{images}.pinned_images.sandbox = \"registry.k8s.io/pause:3.10\"")),
            (2, format!("{images}.snapshotter = \"overlayfs\"")),
            (2, format!("{runtime}.cni.bin_dirs = [\"/usr/lib/cni\"]")),
            (2, format!("{runtime}.disable_apparmor = true")),
            (2, format!("{runtime}.containerd.runtimes.'runc'.runtime_type = \"io.containerd.runc.v2\"")),
        ];
        for (major, setting) in table {
            let settings = settings(&configuration(&options(major)));
            assert!(settings.contains(&setting), "{major}: {setting} is not in {settings:#?}");
        }
    }
}
