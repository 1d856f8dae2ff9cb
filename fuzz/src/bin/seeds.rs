//! Writes what fuzzing starts from: `seeds TESTDATA CORPUS` takes upstream's golden objects as the corpora of the targets
//! that choose a kind, and all names of the tables as a dictionary.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs, io};

use api::codec::protobuf::Envelope;
use api::registry::Registry;
use api::schema;
// The compiler's instrumentation calls libFuzzer.
use fuzz as _;

/// Larger objects are cut by libFuzzer, which would leave no object.
const BYTES_MAX: u64 = 12 << 10;

fn main() -> io::Result<()> {
    let [testdata, corpus] = env::args().skip(1).collect::<Vec<_>>().try_into().expect("seeds TESTDATA CORPUS");
    let corpus = Path::new(&corpus);
    fs::create_dir_all(corpus)?;
    fs::write(corpus.join("names.dict"), dictionary())?;
    for (at, (name, _)) in Registry::builtin().kinds().iter().enumerate() {
        let group = if name.group.is_empty() { "core" } else { &name.group };
        let file = format!("{group}.{}.{}", name.version, name.kind);
        let choice = u16::try_from(at).expect("some hundred kinds").to_le_bytes();
        let golden = |ext: &str| {
            let path = Path::new(&testdata).join(format!("{file}.{ext}"));
            fs::metadata(&path).ok().filter(|file| file.len() <= BYTES_MAX).and_then(|_| fs::read(&path).ok())
        };
        if let Some(json) = golden("json") {
            write(corpus, "json", &file, &[&choice, &json])?;
            write(corpus, "patches", &file, &[&choice, &json, &[0xff], &json])?;
        }
        if let Some(yaml) = golden("yaml") {
            write(corpus, "yaml", &file, &[&yaml])?;
        }
        if let Some(bytes) = golden("pb") {
            let message = Envelope::parse(&bytes).map_or(&bytes[..], |envelope| envelope.raw);
            write(corpus, "protobuf", &file, &[&choice, message])?;
            write(corpus, "protobuf", &format!("{file}.envelope"), &[&choice, &bytes])?;
        }
    }
    Ok(())
}

fn write(corpus: &Path, target: &str, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let directory = corpus.join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), parts.concat())
}

/// The names of all fields and kinds, a line each.
fn dictionary() -> String {
    let fields = schema::builtin().iter().flat_map(|(_, one)| one.fields().iter().map(|field| field.name.to_string()));
    let kinds = Registry::builtin().kinds().iter().map(|(name, _)| name.kind.to_string());
    let resources = Registry::builtin().resources().iter().map(|one| one.plural.to_string());
    let names: BTreeSet<String> = fields.chain(kinds).chain(resources).collect();
    names.into_iter().map(|name| format!("\"{}\"\n", name.replace('\\', "\\\\").replace('"', "\\\""))).collect()
}
