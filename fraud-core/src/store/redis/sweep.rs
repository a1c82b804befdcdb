//! Customers and terminals that nothing happened to for as long as anything is kept: a visit clears a key that is in
//! use, these are looked for. Time is the store's, so a store without traffic forgets nothing.

use redis::Value;

use super::names::initial;
use super::script::{Call, Script};
use super::{RedisStore, answer};
use crate::error::StoreError;

/// Keys looked at in one step.
const STEP: usize = 512;

impl RedisStore {
    /// Looks at some hundred keys of the server and clears those with nothing left. `cursor` says where to go on, 0 to
    /// begin with; gives where the next step goes on, 0 at the end. Several processes may do it at once.
    ///
    /// On a cluster only keys in use are cleared.
    ///
    /// # Errors
    /// [`StoreError::Shared`].
    pub async fn sweep(&self, cursor: u64) -> Result<u64, StoreError> {
        self.ready().await?;
        let shared = &self.shared;
        let Some(deletable) = shared.deletable() else { return Ok(0) };
        let scan = Call::plain("SCAN").arg(cursor).arg("MATCH").arg(shared.names.all_parties()).arg("COUNT").arg(STEP);
        let values = self.call(&[scan]).await?;
        let read = |value: &Value| {
            let [next, keys] = answer::list(value)? else { return None };
            let keys = answer::list(keys)?.iter().filter_map(answer::text).map(str::to_owned);
            Some((u64::try_from(answer::integer(next)?).ok()?, keys.collect::<Vec<_>>()))
        };
        let value = values.first().unwrap_or(&Value::Nil);
        let checked = answer::checked(value).map_err(|problem| shared.refused(problem))?;
        let (next, keys) = read(checked).ok_or_else(|| shared.refused("SCAN gave something else".to_owned()))?;
        let calls = keys.iter().filter_map(|events| {
            let (kind, tag, stem) = shared.names.read_party(events)?;
            let keys = [shared.names.marker(tag), events.clone(), format!("{stem}f"), format!("{stem}x")];
            Some(Call::script(Script::Sweep, &keys).arg(shared.epoch()?).arg(deletable).arg(initial(kind)))
        });
        let calls: Vec<_> = calls.collect();
        if !calls.is_empty() {
            self.call(&calls).await?;
        }
        Ok(next)
    }
}
