//! When a shared store is refused, and what comes of a server that goes away, comes back, or is exchanged.
#![cfg(feature = "redis")]

mod store_driver;
mod store_reference;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use fraud_core::error::{SharedStoreError, StoreError};
use fraud_core::features::{FeaturePlan, FeatureSet, Profile, StoreSettings};
use fraud_core::store::redis::{BlockingRedisStore, Observation, RedisSettings};
use fraud_core::transaction::Transaction;
use store_driver::redis::Redis;
use store_driver::shared;
use store_reference::transaction;

const START: i64 = 1_700_000_000;

fn plan() -> FeaturePlan {
    let names = ["CUSTOMER_ID_NB_TX_1DAY_WINDOW", "CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW"];
    let terminal = r#"{"name":"t","source":"window","key":"terminal","aggregate":"count","window":"1d","delay":"0s"}"#;
    let json = format!(r#"["{}","{}",{terminal}]"#, names[0], names[1]);
    FeaturePlan::compile(&FeatureSet::from_json(&json).expect("features"))
}

fn settings(redis: &Redis) -> RedisSettings {
    shared::settings(&redis.url(), &StoreSettings::default())
}

fn begun(redis: &Redis) -> (RedisSettings, BlockingRedisStore) {
    let settings = settings(redis);
    BlockingRedisStore::begin(settings.clone()).expect("begun");
    let store = BlockingRedisStore::connect(settings.clone()).expect("connected");
    (settings, store)
}

fn observe(store: &BlockingRedisStore, tx: &Transaction) -> Result<Profile, StoreError> {
    let mut profiles = [Profile::default()];
    let results = store.observe_batch(&[Observation::from(tx)], plan().profile(), &mut profiles);
    let [profile] = profiles;
    results.into_iter().next().expect("a result").map(|()| profile)
}

/// Counts at the customer and at the terminal, as a new payment there would find them, itself apart.
fn counted(store: &BlockingRedisStore) -> (u64, u64) {
    let mut profiles = [Profile::default()];
    let tx = transaction(-1, (1, 1), (START + 1_000, 1));
    let results = store.peek_batch(&[Observation::from(&tx)], plan().profile(), &mut profiles);
    assert_eq!(results, [Ok(())]);
    (profiles[0].windows[0].count - 1, profiles[0].windows[1].count - 1)
}

fn shared_error<T: std::fmt::Debug>(result: Result<T, StoreError>) -> SharedStoreError {
    match result {
        Err(StoreError::Shared(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_server_a_second_beginning_and_another_epoch_are_refused() {
    let redis = Redis::start();
    let mut settings = settings(&redis);
    let error = BlockingRedisStore::connect(settings.clone()).expect_err("empty");
    assert!(matches!(error, SharedStoreError::NoStore { .. }) && error.to_string().contains("store init"), "{error}");
    settings.epoch = Some("spring".to_owned());
    assert_eq!(BlockingRedisStore::begin(settings.clone()).as_deref(), Ok("spring"));
    let error = BlockingRedisStore::begin(settings.clone()).expect_err("there is one");
    assert_eq!(error, SharedStoreError::Exists { epoch: "spring".to_owned() });
    BlockingRedisStore::connect(settings.clone()).expect("the one expected");
    settings.epoch = Some("summer".to_owned());
    let error = BlockingRedisStore::connect(settings.clone()).expect_err("another");
    let other = |expected: &str, found: &str| SharedStoreError::OtherStore {
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    assert_eq!(error, other("summer", "spring"));
    // Stores of other prefixes are none of its business.
    settings.prefix = "elsewhere".to_owned();
    BlockingRedisStore::begin(settings.clone()).expect("begun");
    BlockingRedisStore::connect(settings).expect("connected");
}

#[test]
fn a_server_that_evicts_is_refused_at_once_and_later() {
    let redis = Redis::start();
    let (settings, store) = begun(&redis);
    for policy in ["allkeys-lru", "volatile-ttl"] {
        redis.cli(&["config", "set", "maxmemory-policy", policy]);
        // After a refusal, calls fail at once for a moment.
        std::thread::sleep(Duration::from_millis(150));
        let evicts = SharedStoreError::Evicts { policy: policy.to_owned() };
        assert_eq!(BlockingRedisStore::connect(settings.clone()).expect_err("evicts"), evicts);
        assert_eq!(shared_error(store.watch()), evicts);
        assert_eq!(shared_error(observe(&store, &transaction(1, (1, 1), (START, 1)))), evicts);
        assert!(store.health().failing.is_some());
    }
    redis.cli(&["config", "set", "maxmemory-policy", "noeviction"]);
    std::thread::sleep(Duration::from_millis(150));
    observe(&store, &transaction(1, (1, 1), (START, 1))).expect("observed");
    assert_eq!(store.health().failing, None);
}

#[test]
fn a_store_that_is_still_being_filled_is_nobody_elses() {
    let redis = Redis::start();
    let settings = settings(&redis);
    let filling = BlockingRedisStore::fill(settings.clone()).expect("begun");
    let payment = transaction(1, (1, 1), (START, 100));
    observe(&filling, &payment).expect("recorded");
    for refused in
        [BlockingRedisStore::connect(settings.clone()).map(drop), BlockingRedisStore::begin(settings.clone()).map(drop)]
    {
        assert!(matches!(refused, Err(SharedStoreError::Filling { .. })), "{refused:?}");
    }
    // What broke off is gone on with.
    drop(filling);
    let again = BlockingRedisStore::fill(settings.clone()).expect("gone on with");
    assert!(observe(&again, &payment).expect("recorded").duplicate);
    again.filled().expect("handed over");
    let store = BlockingRedisStore::connect(settings).expect("connected");
    assert_eq!(counted(&store), (1, 1));
}

#[test]
fn an_emptied_server_never_passes_for_customers_without_history() {
    let redis = Redis::start();
    let (settings, store) = begun(&redis);
    observe(&store, &transaction(1, (1, 1), (START, 1))).expect("observed");
    redis.empty();
    for _ in 0..2 {
        let error = shared_error(observe(&store, &transaction(2, (1, 1), (START + 1, 1))));
        assert!(matches!(&error, SharedStoreError::OtherStore { found, .. } if found == "none"), "{error}");
    }
    shared_error(store.watch());
    assert_eq!(redis.cli(&["dbsize"]), "0", "nothing was written to it");
    // A new store there is another one, for this process; the next one takes it.
    let epoch = BlockingRedisStore::begin(settings.clone()).expect("begun");
    // After a refusal, calls fail at once for a moment.
    std::thread::sleep(Duration::from_millis(150));
    let error = shared_error(observe(&store, &transaction(2, (1, 1), (START + 1, 1))));
    assert!(matches!(&error, SharedStoreError::OtherStore { found, .. } if *found == epoch), "{error}");
    let next = BlockingRedisStore::connect(settings).expect("connected");
    assert_eq!(counted(&next), (0, 0));
}

#[test]
fn a_server_killed_and_restarted_goes_on_or_is_refused_for_what_it_lost() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (_, store) = begun(&redis);
    for id in 0..10 {
        observe(&store, &transaction(id, (1, 1), (START + id, 1))).expect("observed");
    }
    redis.kill();
    let error = shared_error(observe(&store, &transaction(10, (1, 1), (START + 10, 1))));
    assert!(matches!(error, SharedStoreError::Unreachable { .. }), "{error}");
    let failing = store.health().failing.expect("failing");
    assert!(matches!(failing.1, SharedStoreError::Unreachable { .. }));
    redis.restart();
    std::thread::sleep(Duration::from_millis(150));
    let profile = observe(&store, &transaction(10, (1, 1), (START + 10, 1))).expect("back, without a restart");
    assert_eq!((profile.windows[0].count, profile.duplicate), (11, false));
    assert_eq!((store.health().failing, store.health().lost_writes), (None, 0));
}

#[test]
fn writes_that_a_failover_lost_are_counted() {
    let master = Redis::start();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let (_, store) = begun(&master);
    // The application knows one address, which moves from the old master to the new one.
    let proxy = Proxy::start(master.port());
    let store = {
        let mut settings = shared::settings(&proxy.url(), &StoreSettings::default());
        settings.prefix = prefix(&store);
        BlockingRedisStore::connect(settings).expect("connected")
    };
    for id in 0..20 {
        observe(&store, &transaction(id, (1, 1), (START + id, 1))).expect("observed");
    }
    wait_for(|| replica.cli(&["info", "replication"]).contains("master_link_status:up"));
    wait_for(|| master.cli(&["dbsize"]) == replica.cli(&["dbsize"]));
    assert_eq!(master.cli(&["wait", "1", "5000"]), "1");
    // The link to the replica breaks, the master answers on, and dies: what it answered meanwhile is gone.
    replica.cli(&["replicaof", "no", "one"]);
    for id in 20..25 {
        observe(&store, &transaction(id, (1, 1), (START + id, 1))).expect("observed");
    }
    drop(master);
    proxy.redirect(replica.port());
    let mut profile = Profile::default();
    wait_for(|| match observe(&store, &transaction(25, (1, 1), (START + 25, 1))) {
        Ok(found) => {
            profile = found;
            true
        }
        Err(_) => false,
    });
    assert_eq!(profile.windows[0].count, 21, "five are gone");
    assert_eq!(store.health().lost_writes, 15, "three parts of each of the five");
    assert_eq!(store.store().time(), Some(START + 25));
}

#[test]
fn a_server_that_hangs_costs_a_timeout_and_no_more() {
    let redis = Redis::start();
    let (settings, _) = begun(&redis);
    let store = BlockingRedisStore::connect(RedisSettings { timeout: Duration::from_millis(300), ..settings });
    let store = store.expect("connected");
    redis.freeze(true);
    let begin = Instant::now();
    let error = shared_error(observe(&store, &transaction(1, (1, 1), (START, 1))));
    assert!(matches!(error, SharedStoreError::Unreachable { .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    redis.freeze(false);
    wait_for(|| observe(&store, &transaction(1, (1, 1), (START, 1))).is_ok());
    assert_eq!(counted(&store), (1, 1), "whatever of the first attempt arrived is counted once");
}

#[test]
fn a_full_server_says_so_and_takes_the_same_transaction_later() {
    let redis = Redis::start();
    let (_, store) = begun(&redis);
    observe(&store, &transaction(0, (1, 1), (START, 1))).expect("observed");
    redis.cli(&["config", "set", "maxmemory", "1mb"]);
    let result = observe(&store, &transaction(1, (1, 1), (START + 1, 1)));
    assert!(matches!(result, Err(StoreError::Full { .. })), "{result:?}");
    assert_eq!(counted(&store), (1, 1), "reading needs no room");
    redis.cli(&["config", "set", "maxmemory", "0"]);
    let profile = observe(&store, &transaction(1, (1, 1), (START + 1, 1))).expect("observed");
    assert_eq!((profile.windows[0].count, profile.duplicate), (2, false));
}

#[test]
fn passwords_are_asked_for_and_not_shown() {
    let redis = Redis::start();
    let (mut settings, _) = begun(&redis);
    redis.cli(&["config", "set", "requirepass", "hush-hush"]);
    let error = BlockingRedisStore::connect(settings.clone()).expect_err("no password");
    assert!(matches!(error, SharedStoreError::Settings { .. }), "{error}");
    settings.password = Some("hush-hush".to_owned());
    assert!(!format!("{settings:?}").contains("hush"));
    BlockingRedisStore::connect(settings).expect("connected");
}

/// The connection breaks after any number of bytes of the request, twice: the call fails, and the same transaction
/// sent again is counted once at the customer and once at the terminal.
#[test]
fn an_observation_that_broke_off_anywhere_is_healed_by_the_next() {
    let redis = Redis::start();
    let (settings, direct) = begun(&redis);
    let mut done = 0;
    // What one observation sends, in bytes, is found as the number from which nothing breaks.
    for cut in (0..).step_by(97) {
        let proxy = Proxy::start(redis.port());
        let store = BlockingRedisStore::connect(RedisSettings { url: proxy.url(), ..settings.clone() });
        let store = store.expect("connected");
        proxy.cut_after(cut);
        let tx = transaction(done, (1, 1), (START + done, 10));
        let first = observe(&store, &tx);
        proxy.cut_after(i64::MAX);
        let healed = observe(&direct, &tx).expect("healed");
        done += 1;
        let count = u64::try_from(done).expect("small");
        assert_eq!((healed.windows[0].count, healed.windows[0].sum), (count, u128::from(count) * 10), "cut at {cut}");
        assert_eq!(counted(&direct), (count, count), "cut at {cut}");
        if first.is_ok() {
            assert!(cut > 500, "{cut} bytes are enough");
            return;
        }
    }
}

fn prefix(store: &BlockingRedisStore) -> String {
    let text = format!("{:?}", store.store());
    text.split("prefix: \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a prefix").to_owned()
}

fn wait_for(mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it did not come to pass");
}

/// Stands between client and server.
struct Proxy {
    port: u16,
    target: Arc<AtomicI64>,
    /// Bytes of each connection's requests that still get through, from the moment that it is set.
    left: Arc<AtomicI64>,
}

impl Proxy {
    fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let proxy = Self { port, target: Arc::new(i64::from(target).into()), left: Arc::new(AtomicI64::new(i64::MAX)) };
        let (target, left) = (proxy.target.clone(), proxy.left.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let port = u16::try_from(target.load(Ordering::SeqCst)).expect("a port");
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (left, back) = (left.clone(), (server.try_clone(), client.try_clone()));
                std::thread::spawn(move || pass(client, server, &left));
                if let (Ok(server), Ok(client)) = back {
                    let unlimited = AtomicI64::new(i64::MAX);
                    std::thread::spawn(move || pass(server, client, &unlimited));
                }
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    fn redirect(&self, port: u16) {
        self.target.store(port.into(), Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let mut buffer = [0; 65_536];
    while let Ok(read) = from.read(&mut buffer) {
        let allowed = usize::try_from(left.load(Ordering::SeqCst)).unwrap_or(0).min(read);
        if left.load(Ordering::SeqCst) != i64::MAX {
            left.fetch_sub(i64::try_from(allowed).expect("small"), Ordering::SeqCst);
        }
        if read == 0 || to.write_all(&buffer[..allowed]).is_err() || allowed < read {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
