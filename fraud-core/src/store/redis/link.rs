//! The connection: made when it is needed, believed once it was looked at, made again when it breaks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, Value};
use tokio::sync::Mutex;

use super::answer;
use super::guard;
use super::script::{Call, Script};
use super::shared::Shared;
use crate::error::{SharedStoreError, StoreError};

/// After a failed attempt to connect, calls fail at once for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection to one server or to a cluster. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends all calls at once and waits for all answers, in the order of the calls; `timeout` is for all of them.
    pub async fn send(&mut self, calls: &[Call], timeout: Duration) -> Result<Vec<Value>, redis::RedisError> {
        match self {
            Self::Single(connection) => {
                connection.set_response_timeout(timeout);
                let mut pipeline = Pipeline::with_capacity(calls.len());
                for call in calls {
                    pipeline.add_command(call.command().clone());
                }
                connection.req_packed_commands(&pipeline, 0, calls.len()).await
            }
            Self::Cluster(connection) => {
                let groups = by_tag(calls);
                let sent = groups.iter().map(|places| send_together(connection.clone(), calls, places));
                let mut values = vec![Value::Nil; calls.len()];
                for (places, answers) in groups.iter().zip(join_all(sent).await) {
                    places.iter().zip(answers?).for_each(|(place, answer)| values[*place] = answer);
                }
                Ok(values)
            }
        }
    }
}

/// The calls' places, those of one tag together and in their order: commands of their own overtake each other on their
/// way, and under one tag lies everything that one call may see of another. Without a tag each is on its own.
fn by_tag(calls: &[Call]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut of_tag = HashMap::new();
    for (place, call) in calls.iter().enumerate() {
        let group = call.tag().map_or(groups.len(), |tag| *of_tag.entry(tag).or_insert(groups.len()));
        match groups.get_mut(group) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups
}

/// Sends the calls of one tag to its node, which answers them in their order.
async fn send_together(
    mut connection: ClusterConnection,
    calls: &[Call],
    places: &[usize],
) -> Result<Vec<Value>, redis::RedisError> {
    if let [place] = places {
        return match connection.req_packed_command(calls[*place].command()).await {
            Ok(value) => Ok(vec![value]),
            Err(error) => Ok(vec![Value::ServerError(redis::ServerError::try_from(error)?)]),
        };
    }
    let mut pipeline = Pipeline::with_capacity(places.len());
    for place in places {
        pipeline.add_command(calls[*place].command().clone());
    }
    connection.req_packed_commands(&pipeline, 0, places.len()).await
}

/// What a node of a cluster may take for one command.
const LONGEST: Duration = Duration::from_secs(10);

enum State {
    Down { since: Instant, error: SharedStoreError },
    Up { connection: Connection, generation: u64 },
}

/// A connection that mends itself.
pub(super) struct Link {
    state: Mutex<State>,
}

impl Link {
    /// Not connected yet.
    pub fn new() -> Self {
        let error = SharedStoreError::Unreachable { address: String::new(), problem: "not connected yet".into() };
        let long_ago = Instant::now().checked_sub(PAUSE).unwrap_or_else(Instant::now);
        Self { state: Mutex::new(State::Down { since: long_ago, error }) }
    }

    /// The connection, with a number that tells it from the ones before.
    pub async fn connection(&self, shared: &Shared) -> Result<(Connection, u64), StoreError> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Up { connection, generation } => return Ok((connection.clone(), *generation)),
            State::Down { since, error } if since.elapsed() < PAUSE => return Err(error.clone().into()),
            State::Down { .. } => {}
        }
        match connect(shared).await {
            Ok(connection) => {
                let generation = shared.connected();
                *state = State::Up { connection: connection.clone(), generation };
                Ok((connection, generation))
            }
            Err(error) => {
                *state = State::Down { since: Instant::now(), error: error.clone() };
                Err(error.into())
            }
        }
    }

    /// The connection of that number is of no use any more.
    pub async fn lost(&self, broken: u64, error: &SharedStoreError) {
        Self::forget(&mut *self.state.lock().await, broken, error);
    }

    /// The same for a caller whose time is up. Where the state is held, somebody connects anew already.
    pub fn given_up(&self, broken: u64, error: &SharedStoreError) {
        if let Ok(mut state) = self.state.try_lock() {
            Self::forget(&mut state, broken, error);
        }
    }

    fn forget(state: &mut State, broken: u64, error: &SharedStoreError) {
        if matches!(state, State::Up { generation, .. } if *generation == broken) {
            // The next call may connect at once: a server that was restarted is back in an instant.
            let long_ago = Instant::now().checked_sub(PAUSE).unwrap_or_else(Instant::now);
            *state = State::Down { since: long_ago, error: error.clone() };
        }
    }
}

/// Connects, and looks at the server before anything is asked of it.
async fn connect(shared: &Shared) -> Result<Connection, SharedStoreError> {
    let mut connection = open(shared).await?;
    guard::admit(shared, &mut connection).await?;
    load_scripts(shared, &mut connection).await?;
    Ok(connection)
}

/// A connection that nothing was asked yet.
pub(super) async fn open(shared: &Shared) -> Result<Connection, SharedStoreError> {
    let info = shared.settings.connection()?;
    if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        // Whoever set one before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let unreachable = |error: redis::RedisError| shared.unreachable(&error);
    let timeout = shared.settings.timeout;
    let client = Client::open(info.clone()).map_err(unreachable)?;
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
    let mut single = client.get_multiplexed_async_connection_with_config(&config).await.map_err(unreachable)?;
    let about: String = redis::cmd("INFO").arg("cluster").query_async(&mut single).await.map_err(unreachable)?;
    if !about.contains("cluster_enabled:1") {
        return Ok(Connection::Single(single));
    }
    let builder = redis::cluster::ClusterClient::builder([info]).connection_timeout(timeout).response_timeout(LONGEST);
    let cluster = builder.retries(1).build().map_err(unreachable)?;
    Ok(Connection::Cluster(cluster.get_async_connection().await.map_err(unreachable)?))
}

/// Gives the server the scripts; a cluster hands them to every node.
pub(super) async fn load_scripts(shared: &Shared, connection: &mut Connection) -> Result<(), SharedStoreError> {
    let calls: Vec<_> = Script::ALL.iter().map(|it| Call::plain("SCRIPT").arg("LOAD").arg(it.source())).collect();
    let timeout = shared.settings.time_of(calls.len());
    let values = connection.send(&calls, timeout).await.map_err(|error| shared.unreachable(&error))?;
    for value in &values {
        answer::checked(value).map_err(|problem| SharedStoreError::Answer { problem })?;
    }
    Ok(())
}
