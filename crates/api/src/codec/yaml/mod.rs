//! YAML as `sigs.k8s.io/yaml` reads and writes it: YAML 1.1's booleans and octals, keys sorted.

mod emit;
mod read;
mod scalar;

pub use emit::write;
pub use read::{YamlError, parse, parse_strict};
