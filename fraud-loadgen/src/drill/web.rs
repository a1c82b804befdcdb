//! Questions to Prometheus and Alertmanager, and a listener for what Alertmanager sends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::load::http::{self, Progress};
use crate::target::Target;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest message of Alertmanager that is read, in bytes.
const MAX_MESSAGE_BYTES: u64 = 1 << 20;

/// What a server said when it was not what was asked for.
pub(super) type Problem = String;

/// Asks for a path; answers the body of a 200.
pub(super) fn get(server: &Target, path: &str) -> Result<Vec<u8>, Problem> {
    let wrong = |error: &dyn std::fmt::Display| format!("{server}: {error}");
    let answer = exchange(server, path).map_err(|error| wrong(&error))?;
    match http::parse(&answer).map_err(|error| wrong(&error))? {
        Progress::Complete(response) if response.status == 200 => Ok(response.body.into_owned()),
        Progress::Complete(response) => Err(wrong(&format!("answered {path} with status {}", response.status))),
        Progress::Partial(_) => Err(wrong(&"the answer ended early")),
    }
}

fn exchange(server: &Target, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (prefix, host) = (&server.prefix, server.authority());
    write!(stream, "GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(http::MAX_RESPONSE_BYTES as u64).read_to_end(&mut answer)?;
    Ok(answer)
}

#[derive(Deserialize)]
struct QueryAnswer {
    data: QueryData,
}

#[derive(Deserialize)]
struct QueryData {
    result: Vec<QueryResult>,
}

#[derive(Deserialize)]
struct QueryResult {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// A sample of an instant query: labels and value.
pub(super) type Labelled = (BTreeMap<String, String>, f64);

/// The samples of an instant query.
pub(super) fn query(prometheus: &Target, expression: &str) -> Result<Vec<Labelled>, Problem> {
    let body = get(prometheus, &format!("/api/v1/query?query={}", encoded(expression)))?;
    let answer: QueryAnswer = read(prometheus, &body)?;
    Ok(answer
        .data
        .result
        .into_iter()
        .filter_map(|result| Some((result.metric, result.value.1.parse().ok()?)))
        .collect())
}

#[derive(Deserialize)]
struct AlertsAnswer {
    data: AlertsData,
}

#[derive(Deserialize)]
struct AlertsData {
    alerts: Vec<PrometheusAlert>,
}

#[derive(Deserialize)]
struct PrometheusAlert {
    labels: BTreeMap<String, String>,
    state: String,
}

/// The state of an alert of a namespace in Prometheus: `inactive`, `pending` or `firing`.
pub(super) fn alert_state(prometheus: &Target, alert: &str, namespace: &str) -> Result<String, Problem> {
    let body = get(prometheus, "/api/v1/alerts")?;
    let answer: AlertsAnswer = read(prometheus, &body)?;
    let found = answer.data.alerts.into_iter().find(|found| is_ours(&found.labels, alert, namespace));
    Ok(found.map_or_else(|| "inactive".to_owned(), |found| found.state))
}

/// Whether Prometheus has a rule of this name.
pub(super) fn has_rule(prometheus: &Target, alert: &str) -> Result<bool, Problem> {
    let body = get(prometheus, "/api/v1/rules?type=alert")?;
    let rules: serde_json::Value = read(prometheus, &body)?;
    let groups = rules["data"]["groups"].as_array();
    let mut names = groups.into_iter().flatten().filter_map(|group| group["rules"].as_array()).flatten();
    Ok(names.any(|rule| rule["name"] == alert))
}

#[derive(Deserialize)]
struct AlertmanagerAlert {
    labels: BTreeMap<String, String>,
    status: AlertmanagerStatus,
}

#[derive(Deserialize)]
struct AlertmanagerStatus {
    state: String,
}

/// The state of an alert of a namespace in Alertmanager: `inactive`, `active` or `suppressed`.
pub(super) fn alertmanager_state(alertmanager: &Target, alert: &str, namespace: &str) -> Result<String, Problem> {
    let body = get(alertmanager, "/api/v2/alerts")?;
    let alerts: Vec<AlertmanagerAlert> = read(alertmanager, &body)?;
    let found = alerts.into_iter().find(|found| is_ours(&found.labels, alert, namespace));
    Ok(found.map_or_else(|| "inactive".to_owned(), |found| found.status.state))
}

fn read<T: serde::de::DeserializeOwned>(server: &Target, body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| format!("{server}: {error}"))
}

fn is_ours(labels: &BTreeMap<String, String>, alert: &str, namespace: &str) -> bool {
    let is = |name: &str, value: &str| labels.get(name).is_some_and(|found| found == value);
    is("alertname", alert) && is("namespace", namespace)
}

/// A text as a part of a query.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[derive(Deserialize)]
struct Message {
    alerts: Vec<MessageAlert>,
}

#[derive(Deserialize)]
struct MessageAlert {
    status: String,
    labels: BTreeMap<String, String>,
}

/// Receives Alertmanager's messages: one text, `firing` or `resolved`, for each alert of this name and namespace.
///
/// # Errors
/// Those of listening.
pub(super) fn listen(address: SocketAddr, (alert, namespace): (String, String)) -> io::Result<Receiver<String>> {
    let listener = TcpListener::bind(address)?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // One message a connection is enough; a peer that sends none is given up after a while.
            let _ = receive(&stream, (&alert, &namespace), &sender);
        }
    });
    Ok(receiver)
}

fn receive(stream: &TcpStream, (alert, namespace): (&str, &str), sender: &Sender<String>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(MAX_MESSAGE_BYTES));
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let message = serde_json::from_slice::<Message>(&body);
    let status = if message.is_ok() { "200 OK" } else { "400 Bad Request" };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    for found in message.into_iter().flat_map(|message| message.alerts) {
        if is_ours(&found.labels, alert, namespace) {
            // The drill may be over.
            let _ = sender.send(found.status);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("max(a{b=\"c\"}) > 0.8"), "max%28a%7Bb%3D%22c%22%7D%29%20%3E%200.8");
    }

    #[test]
    fn the_listener_tells_of_the_alert_and_of_no_other() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let received = listen(free, ("Hot".into(), "fraud".into())).unwrap();
        let alert = |name: &str, status: &str| {
            format!("{{\"status\":\"{status}\",\"labels\":{{\"alertname\":\"{name}\",\"namespace\":\"fraud\"}}}}")
        };
        let body = format!(
            "{{\"alerts\":[{},{},{}]}}",
            alert("Cold", "firing"),
            alert("Hot", "firing"),
            alert("Hot", "resolved")
        );
        for (body, status) in [("nonsense".to_owned(), "400"), (body, "200")] {
            let mut stream = TcpStream::connect(free).unwrap();
            write!(stream, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        assert_eq!([received.recv().unwrap(), received.recv().unwrap()], ["firing", "resolved"]);
        assert!(received.try_recv().is_err());
    }
}
