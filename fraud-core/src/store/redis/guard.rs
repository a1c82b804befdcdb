//! Whether a server may be believed: its policy, its epoch, and whether it still has what it had.

use std::sync::atomic::Ordering;

use redis::Value;

use super::answer;
use super::link::Connection;
use super::names::TAGS;
use super::script::Call;
use super::shared::{Identity, Shared, Times};
use crate::error::SharedStoreError;
use crate::features::store::key::Secret;

/// How keys and values are written; another number is another store.
const FORMAT: &str = "1";
/// Set while history is brought in: what is there is not all of it.
const FILLING: &str = "filling";

/// Looks at a new connection's server. Nothing was asked of it before, so nothing can have been taken for an answer.
pub(super) async fn admit(shared: &Shared, connection: &mut Connection) -> Result<(), SharedStoreError> {
    check_memory(shared, connection).await?;
    let identity = read_identity(shared, connection).await?.ok_or_else(|| match shared.identity() {
        None => no_store(shared),
        Some(known) => SharedStoreError::OtherStore { expected: known.epoch.clone(), found: "none".to_owned() },
    })?;
    let first = shared.identity().is_none();
    shared.recognise(identity)?;
    let times = read_times(shared, connection).await?;
    let times = settle_history(shared, connection, times).await?;
    shared.set_times(times);
    if !first {
        check_writes(shared, connection).await?;
    }
    Ok(())
}

pub(super) fn no_store(shared: &Shared) -> SharedStoreError {
    SharedStoreError::NoStore { address: shared.settings.address(), prefix: shared.settings.prefix.clone() }
}

async fn ask(shared: &Shared, connection: &mut Connection, calls: &[Call]) -> Result<Vec<Value>, SharedStoreError> {
    let timeout = shared.settings.time_of(calls.len());
    let values = connection.send(calls, timeout).await.map_err(|error| shared.unreachable(&error))?;
    for value in &values {
        answer::checked(value).map_err(|problem| shared.away(problem))?;
    }
    Ok(values)
}

/// Refuses a server that evicts, and takes note of its memory. A cluster answers for each node.
pub(super) async fn check_memory(shared: &Shared, connection: &mut Connection) -> Result<(), SharedStoreError> {
    let values = ask(shared, connection, &[Call::plain("INFO").arg("memory")]).await?;
    let mut reports = Vec::new();
    for value in &values {
        match value {
            Value::Map(nodes) => reports.extend(nodes.iter().filter_map(|(_, report)| answer::text(report))),
            Value::VerbatimString { text, .. } => reports.push(text.as_str()),
            value => reports.extend(answer::text(value)),
        }
    }
    let mut memory = [0_u64; 2];
    for report in &reports {
        let line = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let policy = line("maxmemory_policy").unwrap_or("unknown").trim();
        if policy != "noeviction" {
            return Err(SharedStoreError::Evicts { policy: policy.to_owned() });
        }
        for (sum, name) in memory.iter_mut().zip(["used_memory", "maxmemory"]) {
            *sum += line(name).and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default();
        }
    }
    if reports.is_empty() {
        return Err(SharedStoreError::Answer { problem: "INFO memory gave no report".to_owned() });
    }
    for (known, found) in shared.memory.iter().zip(memory) {
        known.store(found, Ordering::Relaxed);
    }
    Ok(())
}

async fn read_identity(shared: &Shared, connection: &mut Connection) -> Result<Option<Identity>, SharedStoreError> {
    let call = Call::plain("HMGET").arg(shared.names.meta()).arg(&["format", "epoch", "secret", FILLING]);
    let values = ask(shared, connection, &[call]).await?;
    let fields = values.first().and_then(answer::list).unwrap_or_default();
    let [format, epoch, secret, filling] = fields else { return Ok(None) };
    let (Some(format), Some(epoch)) = (answer::text(format), answer::text(epoch)) else { return Ok(None) };
    if format != FORMAT {
        let problem = format!("the store is of format {format}, this version reads {FORMAT}");
        return Err(SharedStoreError::Answer { problem });
    }
    if answer::text(filling).is_some() && !shared.fills {
        return Err(SharedStoreError::Filling { epoch: epoch.to_owned() });
    }
    let secret = answer::text(secret).and_then(read_secret);
    let secret = secret.ok_or_else(|| SharedStoreError::Answer { problem: "the store has no secret".to_owned() })?;
    Ok(Some(Identity { epoch: epoch.to_owned(), secret }))
}

async fn read_times(shared: &Shared, connection: &mut Connection) -> Result<Times, SharedStoreError> {
    let [latest, earliest] = shared.names.times();
    let range = |command: &str, key: &str| Call::plain(command).arg(key).arg(&["0", "0", "WITHSCORES"]);
    let values = ask(shared, connection, &[range("ZREVRANGE", &latest), range("ZRANGE", &earliest)]).await?;
    let time = |value: &Value| answer::list(value)?.get(1).and_then(answer::integer);
    let [latest, earliest] = [0, 1].map(|index| values.get(index).and_then(time));
    Ok(Times { latest, earliest })
}

/// Where this process keeps events for longer than the store was kept before, history is complete only from where it
/// was kept until now.
async fn settle_history(shared: &Shared, connection: &mut Connection, times: Times) -> Result<Times, SharedStoreError> {
    let meta = shared.names.meta();
    let values = ask(shared, connection, &[Call::plain("HGET").arg(&meta).arg("kept")]).await?;
    let (before, kept) = (values.first().and_then(answer::integer), shared.store.kept());
    if before == Some(kept) {
        return Ok(times);
    }
    let mut calls = vec![Call::plain("HSET").arg(&meta).arg("kept").arg(kept)];
    let begins = times.latest.zip(before.filter(|before| *before < kept)).map(|(latest, before)| latest - before);
    let begins = begins.filter(|begins| times.earliest.is_none_or(|earliest| earliest < *begins));
    if let Some(begins) = begins {
        let [_, earliest] = shared.names.times();
        calls.push(Call::plain("DEL").arg(&earliest));
        calls.push(Call::plain("ZADD").arg(&earliest).arg(begins).arg("kept"));
    }
    ask(shared, connection, &calls).await?;
    Ok(Times { earliest: begins.or(times.earliest), ..times })
}

/// Compares the writes under every tag with those known, and counts keys and events on the way. What a failover or
/// a restart lost shows here.
pub(super) async fn check_writes(shared: &Shared, connection: &mut Connection) -> Result<(), SharedStoreError> {
    let before: Vec<u64> = (0..TAGS).map(|tag| shared.mark(tag)).collect();
    let fields = ["epoch", "writes", "c", "t", "events"];
    let calls: Vec<_> = (0..TAGS).map(|tag| Call::plain("HMGET").arg(shared.names.marker(tag)).arg(&fields)).collect();
    let values = ask(shared, connection, &calls).await?;
    let mut counts = [0_u64; 3];
    for (tag, (value, before)) in values.iter().zip(before).enumerate() {
        let [epoch, writes, rest @ ..] = answer::list(value).unwrap_or_default() else { continue };
        let epoch = answer::text(epoch).unwrap_or("none");
        if let Some(known) = shared.epoch().filter(|known| *known != epoch) {
            return Err(SharedStoreError::OtherStore { expected: known.to_owned(), found: epoch.to_owned() });
        }
        let number = |value: &Value| answer::integer(value).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        shared.note_writes(tag, (before, number(writes)));
        for (count, value) in counts.iter_mut().zip(rest) {
            *count += number(value);
        }
    }
    for (known, found) in shared.counts.iter().zip(counts) {
        known.store(found, Ordering::Relaxed);
    }
    Ok(())
}

/// Begins a store on a server that holds none.
///
/// # Errors
/// [`SharedStoreError::Exists`], [`SharedStoreError::Evicts`], or that the server cannot be asked.
pub(super) async fn begin(
    shared: &Shared,
    connection: &mut Connection,
    secret: Option<Secret>,
) -> Result<String, SharedStoreError> {
    check_memory(shared, connection).await?;
    if let Some(there) = read_identity(shared, connection).await? {
        return Err(SharedStoreError::Exists { epoch: there.epoch });
    }
    let markers: Vec<_> =
        (0..TAGS).map(|tag| Call::plain("HGET").arg(shared.names.marker(tag)).arg("writes")).collect();
    let written = ask(shared, connection, &markers).await?;
    if written.iter().any(|value| answer::bytes(value).is_some()) {
        // Transactions without the hash that says whose they are: somebody deleted it.
        return Err(SharedStoreError::Exists { epoch: "unknown".to_owned() });
    }
    let epoch = shared.settings.epoch.clone().unwrap_or_else(|| {
        let [first, second, ..] = Secret::random().words;
        format!("{first:016x}{second:016x}")
    });
    // By one only: whoever else begins a store at the same time ends here. Readable once all of it is there.
    let meta = shared.names.meta();
    let claim = Call::plain("HSETNX").arg(&meta).arg("epoch").arg(&epoch);
    let values = ask(shared, connection, &[claim]).await?;
    if values.first().and_then(answer::integer) != Some(1) {
        let problem =
            format!("somebody began a store and did not finish yet; if nobody is at it, delete the key {meta}");
        return Err(SharedStoreError::Answer { problem });
    }
    let markers = (0..TAGS).map(|tag| Call::plain("HSET").arg(shared.names.marker(tag)).arg("epoch").arg(&epoch));
    ask(shared, connection, &markers.collect::<Vec<_>>()).await?;
    let secret = write_secret(&secret.unwrap_or_else(Secret::random));
    let mut rest = Call::plain("HSET").arg(&meta).arg(&["secret", secret.as_str(), "format", FORMAT]);
    if shared.fills {
        rest = rest.arg(&[FILLING, "1"]);
    }
    ask(shared, connection, &[rest]).await?;
    Ok(epoch)
}

/// All history is in.
pub(super) fn filled(shared: &Shared) -> Call {
    Call::plain("HDEL").arg(shared.names.meta()).arg(FILLING)
}

fn write_secret(secret: &Secret) -> String {
    secret.words.iter().map(|word| format!("{word:016x}")).collect()
}

fn read_secret(text: &str) -> Option<Secret> {
    let mut words = [0; 5];
    for (index, word) in words.iter_mut().enumerate() {
        *word = u64::from_str_radix(text.get(index * 16..index * 16 + 16)?, 16).ok()?;
    }
    (text.len() == 80).then_some(Secret { words })
}
