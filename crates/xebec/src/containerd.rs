//! A private containerd, where the machine has none for us: started beside the server, left
//! running when the server ends (pods go on), found again by its socket.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use client::{Backoff, Chance};
use kubelet::cri::{Runtime, v1};
use kubelet::images::archive::{self, ImageSource};
use kubelet::images::pause;
use kubelet::runtime::containerd::{self, Options, major_version};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::commands::Error;
use crate::machine::{DEFAULT_DATA_DIR, Machine};

/// What `xebec import-images` takes.
#[derive(Args, Clone, Debug)]
pub struct ImportOptions {
    /// The data directory of the server or agent whose runtime it is.
    #[arg(long, default_value = DEFAULT_DATA_DIR, env = "XEBEC_DATA_DIR")]
    data_dir: PathBuf,
    /// The archives.
    #[arg(required = true)]
    archives: Vec<PathBuf>,
}

/// The image of the demo, and of tests that need a shell.
pub const DEMO_IMAGE: &str = "localhost/xebec/busybox:1";
const PROGRAM: &str = "containerd";
/// All images.
const IMAGES: v1::ListImagesRequest = v1::ListImagesRequest { filter: None };
/// How long a new containerd may take to answer.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// Between two looks at a socket that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Waits before one that has ended is started again.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The endpoint of a running containerd, started if there is none at our socket.
///
/// # Errors
/// It can't be started, or does not answer.
pub async fn ensure(machine: &Machine, handlers: &[String]) -> Result<String, Error> {
    let socket = machine.containerd_socket();
    let endpoint = format!("unix://{}", socket.display());
    let runtime = Runtime::connect(&endpoint)?;
    let mut started = false;
    // It listens before it has found its containers; and one that is just being killed listens for a moment more.
    let answers = async {
        loop {
            match UnixStream::connect(&socket).await {
                Ok(_) if runtime.list_images(IMAGES).await.is_ok() => return Ok::<(), Error>(()),
                Err(_) if !started => {
                    start(machine, handlers)?;
                    started = true;
                }
                _ => {}
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(START_TIME_MAX, answers)
        .await
        .map_err(|_| format!("containerd does not answer; its log is {}", log_path(machine).display()))??;
    Ok(endpoint)
}

/// Starts a containerd that goes on when this process ends.
fn start(machine: &Machine, handlers: &[String]) -> Result<(), Error> {
    fs::create_dir_all(machine.run_dir())?;
    let dir = machine.below("containerd");
    fs::create_dir_all(&dir)?;
    let config = dir.join("config.toml");
    fs::write(&config, configuration(machine, handlers)?)?;
    let log = fs::OpenOptions::new().create(true).append(true).open(log_path(machine))?;
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // A group of its own: signals to the server's terminal are not for containers.
    let child = command.process_group(0).spawn().map_err(|error| format!("containerd can't be started: {error}"))?;
    fs::write(machine.below("containerd.pid"), child.id().to_string())?;
    reap(child);
    Ok(())
}

fn log_path(machine: &Machine) -> PathBuf {
    machine.below("containerd/log")
}

/// Starts the private containerd again whenever it ends. Pods run on without it, but nothing can be done with them.
pub async fn keep(machine: Machine, handlers: Vec<String>, stop: CancellationToken) {
    let socket = machine.containerd_socket();
    let keep = async {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX, Chance::from_os());
        loop {
            let since = Instant::now();
            hung_up(&socket).await;
            if since.elapsed() > RETRY_MAX {
                backoff.reset();
            }
            backoff.wait().await;
            // It also hangs up on whoever says nothing for two minutes.
            if UnixStream::connect(&socket).await.is_ok() {
                continue;
            }
            tracing::warn!("containerd has ended and is started again");
            if let Err(error) = ensure(&machine, &handlers).await {
                tracing::error!(%error, "containerd does not start");
            }
        }
    };
    stop.run_until_cancelled(keep).await;
}

/// Waits until whoever listens at a socket hangs up or nobody does.
async fn hung_up(socket: &Path) {
    let Ok(mut connection) = UnixStream::connect(socket).await else { return };
    // A server's greeting is of no interest; the end of it is.
    while connection.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
}

/// Collects the exit of a child that outlives everything that waits for it.
fn reap(mut child: std::process::Child) {
    std::thread::spawn(move || drop(child.wait()));
}

/// The version of the `containerd` on the path decides the form of its configuration.
fn configuration(machine: &Machine, handlers: &[String]) -> Result<String, Error> {
    let printed = Command::new(PROGRAM)
        .arg("--version")
        .output()
        .map_err(|error| format!("{PROGRAM} can't be started: {error}"))?
        .stdout;
    let printed = String::from_utf8_lossy(&printed);
    let major = major_version(&printed).ok_or_else(|| format!("unknown version of containerd: {}", printed.trim()))?;
    Ok(containerd::configuration(&Options {
        major,
        root: machine.below("containerd/root"),
        state: machine.run_dir().join("containerd"),
        socket: machine.containerd_socket(),
        snapshotter: "overlayfs".to_owned(),
        sandbox_image: pause::NAME.to_owned(),
        cni_bin_dir: PathBuf::from("/usr/lib/cni"),
        cni_conf_dir: machine.cni_dir(),
        runc: None,
        registry_dir: Some(machine.below("containerd/certs.d")),
        handlers: handlers.to_vec(),
    }))
}

/// Gives the runtime the images that can come from nowhere else. Does nothing the second time.
///
/// # Errors
/// The images can't be packed or imported.
pub async fn import_images(machine: &Machine, endpoint: &str) -> Result<(), Error> {
    let runtime = Runtime::connect(endpoint)?;
    let there = runtime.list_images(IMAGES).await?.images;
    let has = |name: &str| there.iter().any(|image| image.repo_tags.iter().any(|tag| tag == name));
    if has(pause::NAME) && has(DEMO_IMAGE) {
        return Ok(());
    }
    let mut images = vec![pause::image().ok_or("no pause program for this machine's processor")?];
    let busybox = archive::busybox();
    if busybox.exists() {
        let mut image = ImageSource {
            names: vec![DEMO_IMAGE.to_owned()],
            command: vec!["/bin/sh".to_owned()],
            ..ImageSource::default()
        };
        image.add_busybox(&busybox)?;
        images.push(image);
    }
    let path = machine.below("containerd/images.tar");
    archive::write(&path, &images)?;
    import(&machine.containerd_socket(), &path).await
}

/// Imports archives into the private runtime of a data directory.
///
/// # Errors
/// It does not run, or an archive can't be read.
pub async fn run_import(options: &ImportOptions) -> Result<(), Error> {
    let socket = Machine::of(&options.data_dir)?.containerd_socket();
    for archive in &options.archives {
        import(&socket, archive).await.map_err(|error| format!("{}: {error}", archive.display()))?;
    }
    Ok(())
}

/// Imports an archive of images.
///
/// # Errors
/// What `ctr` says.
pub async fn import(socket: &Path, archive: &PathBuf) -> Result<(), Error> {
    let output = tokio::process::Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive)
        .output()
        .await
        .map_err(|error| format!("ctr can't be run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("images can't be imported: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn the_end_of_who_listens_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        hung_up(&socket).await;
        let listener = UnixListener::bind(&socket).unwrap();
        let mut waiting = std::pin::pin!(hung_up(&socket));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "it listens");
        drop(listener.accept().await.unwrap());
        waiting.await;
    }
}
