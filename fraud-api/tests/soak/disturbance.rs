//! What goes on beside the traffic that is checked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Tally;
use crate::common::{bare_model, default_model, exchange, post};
use crate::service::Process;

/// Sends a request without a body to the management listener; nothing while the service is being started again.
fn operate(process: &Process, method: &str, path: &str) -> Option<u16> {
    TcpStream::connect(process.management).ok()?;
    let raw = format!("{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    exchange(process.management, raw.as_bytes()).map(|answer| answer.status)
}

/// Puts one model file in the place of another, asks for a reload or a rollback, offers a broken file.
pub fn exchange_models(process: &Process, tally: &Tally, over: &AtomicBool) {
    let files = [bare_model(), default_model(), default_model()[..9_000].to_vec()];
    for turn in 0_usize.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(150));
        let _file = process.changing.lock().unwrap();
        let next = process.model_file().with_extension("next");
        std::fs::write(&next, &files[turn % files.len()]).unwrap();
        std::fs::rename(&next, process.model_file()).unwrap();
        let done = match turn % 4 {
            0 => operate(process, "POST", "/admin/model/reload"),
            1 => operate(process, "POST", "/admin/model/rollback"),
            2 => {
                // Settings, keys and model anew; without an answer.
                let _ = Command::new("kill").args(["-HUP", &process.pid().to_string()]).status();
                None
            }
            // The watch sees it by itself.
            _ => None,
        };
        // 409: nothing to go back to yet; 422: the broken file.
        assert!(done.is_none_or(|status| [200, 409, 422].contains(&status)), "{done:?}");
        tally.exchanges.fetch_add(1, Ordering::Relaxed);
    }
    // The service may be started again later: with a whole file.
    std::fs::write(process.model_file(), default_model()).unwrap();
}

/// Looks at metrics, health and the console as operators do, and leaves without a word.
pub fn watch(process: &Process, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        for path in ["/metrics", "/health", "/"] {
            assert!(operate(process, "GET", path).is_none_or(|status| status == 200), "{path}");
        }
        if let Ok(mut stream) = TcpStream::connect(process.management) {
            let _ = stream.write_all(b"GET /console/events HTTP/1.1\r\nhost: t\r\n\r\n");
            let _ = stream.read(&mut [0; 512]);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Clients that leave in the middle: of the head, of the body, or before the answer.
pub fn break_off(process: &Process, number: u32, (tally, over): (&Tally, &AtomicBool)) {
    for n in 0_usize.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        // Customers and terminals that nobody else has.
        let body = format!(
            "{{\"transaction_id\": \"broken-{number}-{n}\", \"customer_id\": {}, \"terminal_id\": 1000000, \"tx_amount\": 5, \
             \"tx_time_seconds\": {}}}",
            1_000_000 + number,
            tally.today.load(Ordering::Relaxed)
        );
        let raw = post("/predict", &body);
        if let Ok(mut stream) = TcpStream::connect(process.address) {
            let _ = stream.write_all(&raw[..raw.len() - (n * 7) % raw.len()]);
            tally.broken_off.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
