//! `/logs/`: the node's `/var/log`, as Go's file server shows it.

use std::{fs, io, path::Path};

use client::Body;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use super::text;

/// What is shown.
const ROOT: &str = "/var/log";
/// The most of one file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A directory's list, or a file.
pub fn answer(path: &str) -> Response<Body> {
    match read(Path::new(ROOT), path) {
        Ok((content_type, bytes)) => {
            let mut response = Response::new(Body::full(bytes));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => text(StatusCode::FORBIDDEN, "403 Forbidden\n"),
        Err(_) => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn read(root: &Path, path: &str) -> io::Result<(&'static str, Vec<u8>)> {
    // Links may lead anywhere, as on the node itself; a path may not.
    if path.split('/').any(|part| part == "..") {
        return Err(io::ErrorKind::NotFound.into());
    }
    let path = root.join(path.trim_matches('/'));
    let metadata = fs::metadata(&path)?;
    if !metadata.is_dir() {
        if metadata.len() > FILE_BYTES_MAX {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        return Ok(("text/plain; charset=utf-8", fs::read(&path)?));
    }
    let mut names: Vec<String> = fs::read_dir(&path)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(if entry.path().is_dir() { format!("{name}/") } else { name })
        })
        .collect();
    names.sort();
    let escape =
        |name: &str| name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
    let lines = names.iter().map(|name| format!("<a href=\"{0}\">{0}</a>\n", escape(name)));
    Ok((
        "text/html; charset=utf-8",
        format!(
            "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n{}</pre>\n",
            lines.collect::<String>()
        )
        .into_bytes(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_lists_but_nothing_above() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/f"), "text").unwrap();
        assert_eq!(read(root.path(), "/d/f").unwrap().1, b"text");
        let list = String::from_utf8(read(root.path(), "").unwrap().1).unwrap();
        assert!(list.contains("<a href=\"d/\">d/</a>"), "{list}");
        assert!(read(root.path(), "../x").is_err() && read(root.path(), "none").is_err());
    }
}
