//! The shell around the ruleset: one batch, one nftables transaction.
//!
//! Scripts go to `nft -f -`, which sends them to the kernel as one netlink batch: all or nothing. A library that
//! speaks netlink itself was considered (crate `nlink`); it limits how much fits into a transaction, and atomicity is
//! worth more here than the few milliseconds of a process.

use super::address::Family;
use super::ruleset::{Batch, Command};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::future::Future;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

/// Something that carries out an nftables script atomically.
pub trait Nft: Send + Sync + 'static {
    /// Carries out all of the script or nothing.
    fn run(&self, script: String) -> impl Future<Output = Result<(), NftError>> + Send;
}

/// Why a script was not carried out. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The tool is missing or could not be started.
    #[error("cannot run nft: {0}")]
    Start(#[from] std::io::Error),
    /// nft or the kernel refused; nft's words, shortened.
    #[error("nft refused the transaction: {0}")]
    Refused(String),
}

/// How much of nft's complaint is kept, in bytes: it repeats the offending line, which may be long.
const COMPLAINT_BYTES_MAX: usize = 2_000;

/// The `nft` tool.
#[derive(Clone, Debug)]
pub struct NftTool {
    /// The program, by name or path.
    pub program: String,
}

// === impl NftTool ===

impl Default for NftTool {
    fn default() -> NftTool {
        NftTool { program: "nft".to_string() }
    }
}

impl Nft for NftTool {
    async fn run(&self, script: String) -> Result<(), NftError> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A refusal may close the pipe early; its reason is on standard error.
            let _ = stdin.write_all(script.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let end = complaint.floor_char_boundary(COMPLAINT_BYTES_MAX);
        Err(NftError::Refused(complaint[..end].trim().to_string()))
    }
}

// === scripts ===

/// The script that makes the table anew from its definition, with the batch in it. The old table, if there is one,
/// works until the new one does.
pub fn replace_script(table: &str, family: Family, definition: &str, batch: &Batch) -> String {
    let name = format!("{} {table}", family.nft());
    format!("add table {name}\ndelete table {name}\n{definition}{}", batch_script(table, family, batch))
}

/// The script that carries out a batch.
pub fn batch_script(table: &str, family: Family, batch: &Batch) -> String {
    let table = format!("{} {table}", family.nft());
    let address = family.nft_type();
    let mut text = String::new();
    let mut commands = batch.commands.iter().peekable();
    while let Some(command) = commands.next() {
        let _ = match command {
            Command::AddSet { name, timeout_seconds } => writeln!(
                text,
                "add set {table} {name} {{ type {address}; flags dynamic, timeout; timeout {timeout_seconds}s; }}"
            ),
            Command::AddChain { name } => writeln!(text, "add chain {table} {name}"),
            Command::FlushChain { name } => writeln!(text, "flush chain {table} {name}"),
            Command::AddRule { chain, rule } => writeln!(text, "add rule {table} {chain} {rule}"),
            Command::DeleteSet { name } => writeln!(text, "delete set {table} {name}"),
            Command::AddElement { container, key, value } => {
                let _ = write!(text, "add element {table} {} {{ {}", container.name(), element(key, value));
                while let Some(Command::AddElement { key, value, .. }) = commands
                    .next_if(|next| matches!(next, Command::AddElement { container: same, .. } if same == container))
                {
                    let _ = write!(text, ", {}", element(key, value));
                }
                writeln!(text, " }}")
            }
            Command::DeleteElement { container, key, value } => {
                let _ = write!(text, "delete element {table} {} {{ {}", container.name(), element(key, value));
                while let Some(Command::DeleteElement { key, value, .. }) = commands
                    .next_if(|next| matches!(next, Command::DeleteElement { container: same, .. } if same == container))
                {
                    let _ = write!(text, ", {}", element(key, value));
                }
                writeln!(text, " }}")
            }
        };
    }
    text
}

/// The script that deletes retired chains.
pub fn delete_chains_script(table: &str, family: Family, chains: &BTreeSet<String>) -> String {
    chains.iter().map(|chain| format!("delete chain {} {table} {chain}\n", family.nft())).collect()
}

/// The script that removes a table, whether or not it is there.
pub fn remove_script(table: &str, family: &str) -> String {
    format!("add table {family} {table}\ndelete table {family} {table}\n")
}

fn element(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_string() } else { format!("{key} : {value}") }
}
