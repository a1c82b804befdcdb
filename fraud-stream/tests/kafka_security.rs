//! TLS, passwords and refused rights on a real broker; needs a build with `kafka-tls`.
#![cfg(feature = "kafka-tls")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kafka_common;

use std::sync::Arc;

use kafka_common::{Kafka, Sent, World, flush, payments, producer, replayed, send};

/// Sends payments over the open listener and has the world read over a protected one.
fn world(kafka: &Arc<Kafka>, name: &str, count: usize) -> (World, Vec<Vec<u8>>) {
    let world = World::new(kafka.clone(), name, 1);
    let payments = payments(count, 31);
    let producer = producer(&kafka.address);
    for line in &payments.lines {
        send(&producer, &world.topic("input"), &Sent::new(0, "k", line.as_bytes()));
    }
    flush(&producer);
    (world, replayed(&payments.lines).into_iter().flatten().collect())
}

fn with_password(world: &mut World, kafka: &Kafka, password_file: &str) {
    for (key, value) in [
        ("kafka.brokers", kafka.protected("sasl_ssl").as_str()),
        ("kafka.security.protocol", "sasl_ssl"),
        ("kafka.security.mechanism", "SCRAM-SHA-512"),
        ("kafka.security.username", "stream"),
        ("kafka.security.password_file", password_file),
        ("kafka.security.ca_file", &kafka.secret("ca.pem")),
    ] {
        world.set(key, value);
    }
}

fn answers(world: &World) -> Vec<Vec<u8>> {
    let mut found: Vec<_> = world.read("predictions").into_iter().map(|one| (one.input(), one.value)).collect();
    found.sort();
    found.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn passwords_certificates_and_rights() {
    let kafka = Arc::new(Kafka::start_secure());

    // A password within TLS.
    let (mut scram, wanted) = world(&kafka, "scram", 500);
    with_password(&mut scram, &kafka, &kafka.secret("password"));
    scram.finish();
    assert_eq!(answers(&scram), wanted);

    // A certificate of our own.
    let (mut mutual, wanted) = world(&kafka, "mutual", 500);
    for (key, value) in [
        ("kafka.brokers", kafka.protected("ssl").as_str()),
        ("kafka.security.protocol", "ssl"),
        ("kafka.security.ca_file", &kafka.secret("ca.pem")),
        ("kafka.security.certificate_file", &kafka.secret("client.pem")),
        ("kafka.security.key_file", &kafka.secret("client.key")),
    ] {
        mutual.set(key, value);
    }
    mutual.finish();
    assert_eq!(answers(&mutual), wanted);

    // A wrong password: no second guess, and the exit code says whose fault it is.
    let (mut wrong, _) = world(&kafka, "wrong", 1);
    let file = wrong.folder.path().join("password");
    std::fs::write(&file, "not this").unwrap();
    with_password(&mut wrong, &kafka, file.to_str().unwrap());
    let mut refused = wrong.start(&[]);
    assert_eq!(refused.wait(), Some(77), "{}", refused.log());
    assert!(refused.log().contains("not authorised"), "{}", refused.log());
    assert!(!refused.log().contains("not this"), "the password is in the log");

    // An authority that did not sign the broker's certificate: not ready, and the log says why.
    let (mut stranger, _) = world(&kafka, "stranger", 1);
    with_password(&mut stranger, &kafka, &kafka.secret("password"));
    stranger.set("kafka.security.ca_file", "/etc/ssl/certs/ca-certificates.crt");
    let mut unsure = stranger.start(&[]);
    unsure.wait_for("certificate verify failed");
    assert_eq!(unsure.get("/health/ready").0, 503);
    unsure.terminate();
    assert_eq!(unsure.wait(), Some(0), "{}", unsure.log());

    // Rights that are taken away are named; nothing is committed without them.
    let (mut denied, _) = world(&kafka, "denied", 20);
    with_password(&mut denied, &kafka, &kafka.secret("password"));
    let predictions = denied.topic("predictions");
    let acl = ["--deny-principal", "User:stream", "--operation", "Write", "--topic", &predictions];
    kafka.tool("org.apache.kafka.tools.AclCommand", &[&["--add"], &acl[..]].concat());
    let mut refused = denied.start(&[]);
    assert_eq!(refused.wait(), Some(77), "{}", refused.log());
    assert_eq!(denied.read("predictions").len(), 0);
    kafka.tool("org.apache.kafka.tools.AclCommand", &[&["--remove", "--force"], &acl[..]].concat());
    denied.finish();
    assert_eq!(denied.read("predictions").len(), replayed(&payments(20, 31).lines).iter().flatten().count());
}
