//! HTTP requests of probes and lifecycle hooks: plain or over TLS without checking the certificate, one connection
//! each. Upstream: pkg/probe/http.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::run::{Result, dial, join, port};

/// Body read of an answer, in bytes.
const BODY_BYTES_MAX: usize = 10 << 10;
/// Redirects followed.
const REDIRECTS_MAX: usize = 10;

/// A request to a container.
#[derive(Debug, Clone)]
pub struct Request {
    https: bool,
    host: String,
    port: u16,
    path: String,
    headers: HeaderMap,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Request {
    /// From a spec. `purpose` is `probe` or `lifecycle`.
    ///
    /// # Errors
    /// Where the port is none.
    pub fn of_action(
        get: &HTTPGetAction,
        container: &Container,
        ip: &str,
        purpose: &str,
    ) -> std::result::Result<Self, String> {
        let mut headers = HeaderMap::new();
        for header in get.http_headers.iter().flatten() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(&header.name), HeaderValue::try_from(&header.value)) {
                headers.append(name, value);
            }
        }
        if !headers.contains_key(http::header::USER_AGENT) {
            let agent = if purpose == "probe" { "kube-probe/1.37" } else { "kube-lifecycle/1.37" };
            headers.insert(http::header::USER_AGENT, HeaderValue::from_static(agent));
        }
        match headers.get(http::header::ACCEPT) {
            None => {
                headers.insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
            }
            Some(value) if value.is_empty() => {
                headers.remove(http::header::ACCEPT);
            }
            Some(_) => {}
        }
        let path = get.path.clone().unwrap_or_default();
        Ok(Request {
            https: get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: get.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| ip.to_owned()),
            port: port(&get.port, container)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers,
        })
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, join(&self.host, self.port), self.path)
    }

    /// The same without TLS, for servers that answer a handshake in plain text.
    #[must_use]
    pub fn plain(&self) -> Self {
        let mut plain = self.clone();
        plain.https = false;
        plain.headers.remove(http::header::AUTHORIZATION);
        plain
    }

    /// As a probe: 200–399 is well.
    pub async fn probe(self, patience: Duration) -> Result {
        let url = self.url();
        match timeout(patience, self.follow()).await {
            Err(_) => Result::Failure(format!(
                "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )),
            Ok(Err(error)) => Result::Failure(format!("Get {url:?}: {error}")),
            Ok(Ok(answer)) => match answer.status {
                200..300 => Result::Success,
                300..400 => Result::Warning(format!("Probe terminated redirects, Response body: {}", answer.body)),
                status => Result::Failure(format!("HTTP probe failed with statuscode: {status}")),
            },
        }
    }

    /// As a hook: whatever is answered is well.
    ///
    /// # Errors
    /// Where nothing is.
    pub async fn call(self) -> std::result::Result<(), String> {
        let url = self.url();
        self.follow().await.map(|_| ()).map_err(|error| format!("Get {url:?}: {error}"))
    }

    /// Follows redirects that stay on the host.
    async fn follow(mut self) -> std::result::Result<Answer, String> {
        for _ in 0..REDIRECTS_MAX {
            let answer = self.once().await?;
            let Some(location) =
                answer.location.as_deref().filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308))
            else {
                return Ok(answer);
            };
            let Ok(uri) = location.parse::<Uri>() else { return Ok(answer) };
            if let Some(host) = uri.host() {
                if host.trim_matches(['[', ']']) != self.host {
                    return Ok(answer);
                }
                self.https = uri.scheme_str() == Some("https");
                self.port = uri.port_u16().unwrap_or(if self.https { 443 } else { 80 });
            }
            self.path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        }
        Err(format!("stopped after {REDIRECTS_MAX} redirects"))
    }

    async fn once(&self) -> std::result::Result<Answer, String> {
        let stream = dial(&join(&self.host, self.port), Duration::from_secs(3600)).await?;
        if !self.https {
            return self.exchange(stream).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(tls().map_err(|error| error.to_string())?);
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        self.exchange(stream).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> std::result::Result<Answer, String> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(connection);
        let mut request =
            http::Request::get(&self.path).body(Empty::<bytes::Bytes>::new()).map_err(|error| error.to_string())?;
        *request.headers_mut() = self.headers.clone();
        if !self.headers.contains_key(http::header::HOST)
            && let Ok(host) = HeaderValue::try_from(join(&self.host, self.port))
        {
            request.headers_mut().insert(http::header::HOST, host);
        }
        request.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let location =
            parts.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // More than the limit is not read, and no error.
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        driver.abort();
        Ok(Answer { status: parts.status.as_u16(), location, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

fn tls() -> std::result::Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A probe asks whether something answers, not who.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers each connection with the next text and gives back the requests.
    async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                requests.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        });
        (port, task)
    }

    fn request(port: u16) -> Request {
        let get = serde_json::from_value(json!({"port": port, "path": "/healthz", "httpHeaders": [{"name": "X-A", "value": "b"}, {"name": "Host", "value": "h"}]})).unwrap();
        Request::of_action(&get, &Container::default(), "127.0.0.1", "probe").unwrap()
    }

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Result::Success)]
    #[case("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Result::Failure("HTTP probe failed with statuscode: 503".into()))]
    #[case("HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 1\r\n\r\nx", Result::Warning("Probe terminated redirects, Response body: x".into()))]
    #[tokio::test]
    async fn answers(#[case] answer: &str, #[case] expected: Result) {
        let (port, task) = server(vec![answer.to_owned()]).await;
        assert_eq!(request(port).probe(Duration::from_secs(5)).await, expected);
        let seen = task.await.unwrap().remove(0).to_lowercase();
        assert!(
            seen.starts_with("get /healthz http/1.1\r\n")
                && seen.contains("x-a: b\r\n")
                && seen.contains("host: h\r\n"),
            "{seen}"
        );
        assert!(seen.contains("user-agent: kube-probe/1.37\r\n") && seen.contains("accept: */*\r\n"));
    }

    #[tokio::test]
    async fn redirects_on_the_host_are_followed() {
        let (port, task) = server(vec![
            "HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n".into(),
            "HTTP/1.1 204 No Content\r\n\r\n".into(),
        ])
        .await;
        assert_eq!(request(port).probe(Duration::from_secs(5)).await, Result::Success);
        assert!(task.await.unwrap()[1].starts_with("GET /other "));
    }

    #[tokio::test]
    async fn nobody_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let expected =
            format!("Get \"http://127.0.0.1:{port}/healthz\": dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(request(port).probe(Duration::from_secs(5)).await, Result::Failure(expected));
    }
}
