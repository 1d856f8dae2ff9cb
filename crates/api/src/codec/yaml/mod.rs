//! YAML as `sigs.k8s.io/yaml` reads and writes it: YAML 1.1's booleans and octals, keys sorted.

mod emit;
mod plain;
mod read;
mod scalar;

pub use emit::write;
#[cfg(test)]
use read::read_as_yaml;
pub use read::{YamlError, parse, parse_strict};
