//! Following the registry: asking which version is meant, taking it when it is another one and good.

use std::time::{Duration, Instant};

use super::standing::{Barred, Standing};
use super::{LifeError, ModelLife};
use crate::model::{LoadOptions, Model};
use crate::scorer::Scorer;
use crate::service::metrics::{ErrorType, Look, Metrics, RollbackReason};
use crate::service::source::{self, Cache, Origin, Pick, Registry, RegistryError, Release, SourceError, Wanted};

/// Longest pause before a version that was refused is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// The alias of the version before, by which a service starts while the one meant is marked as rolled back.
const PREVIOUS: &str = "previous";

/// A version that was refused.
#[derive(Debug)]
struct Refused {
    release: Release,
    tries: u32,
    /// When to try again; none for what no second try will change.
    again: Option<Instant>,
}

/// What is remembered of one source that is followed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    refused: Option<Refused>,
    /// What went wrong last, so that it is logged once.
    problem: Option<String>,
}

impl Followed {
    fn is_to_wait(&self, release: &Release) -> bool {
        let refused = self.refused.as_ref().filter(|refused| refused.release == *release);
        refused.is_some_and(|refused| refused.again.is_none_or(|again| Instant::now() < again))
    }

    fn refuse(&mut self, release: Release, error: &LifeError, poll: Duration) {
        let known = self.refused.take().filter(|refused| refused.release == release);
        let tries = known.map_or(0, |refused| refused.tries + 1);
        let pause = poll.saturating_mul(1 << tries.min(16)).min(LONGEST_PAUSE);
        let again = error.is_passing().then(|| Instant::now() + pause);
        self.refused = Some(Refused { release, tries, again });
    }

    /// Whether this is news.
    fn is_new(&mut self, problem: Option<String>) -> bool {
        let new = problem.is_some() && self.problem != problem;
        self.problem = problem;
        new
    }
}

/// What a look came to.
enum Found {
    Unchanged,
    /// To be put in service; whether it is to be compared with the one before.
    Taken(Box<Scorer>, Release, bool),
    /// Refused before, and not tried again yet.
    Waiting,
}

/// A version's model, from a verified file.
pub(super) fn take(
    registry: &Registry,
    release: &Release,
    options: LoadOptions,
) -> Result<(Model, Vec<u8>), SourceError> {
    if let Some(why) = release.rolled_back.clone() {
        let Release { name, version, .. } = release.clone();
        return Err(RegistryError::RolledBack { name, version, why }.into());
    }
    let bytes = registry.download(release)?;
    let model = read(release, &bytes, options)?;
    Ok((model, bytes))
}

fn read(release: &Release, bytes: &[u8], options: LoadOptions) -> Result<Model, SourceError> {
    Ok(Model::from_bytes(bytes, &LoadOptions { version: Some(release.version.clone()), ..options })?)
}

/// Where the first model of a source that is followed is looked for.
pub(super) struct First<'a> {
    pub registry: &'a Registry,
    pub cache: Option<&'a Cache>,
    pub options: &'a LoadOptions,
    pub metrics: &'a Metrics,
}

type Fit<'a> = &'a dyn Fn(Model) -> Result<Scorer, LifeError>;

impl First<'_> {
    /// The version meant. While that one is marked as rolled back, or what an alias names cannot be used here, the one
    /// before; and when the registry gives neither, the copy kept of what was last in service.
    pub fn of(&self, wanted: &Wanted, fit: Fit<'_>) -> Result<(Scorer, Release), LifeError> {
        let error = match self.ask(wanted, fit) {
            Ok(first) => return Ok(first),
            Err(error) => error,
        };
        let left = matches!(&error, LifeError::Source(SourceError::Registry(RegistryError::RolledBack { .. })));
        if left || (error.is_of_model() && matches!(wanted.version, Pick::Alias(_))) {
            self.metrics.model_refused(error.reason());
            tracing::error!(%error, "starting with the version at the alias `previous` instead");
            let before = Wanted { name: wanted.name.clone(), version: Pick::Alias(PREVIOUS.to_owned()) };
            match self.ask(&before, fit) {
                Ok(first) => return Ok(first),
                Err(error) => tracing::error!(%error, "that one cannot be used either"),
            }
        }
        let Some((cache, release)) = self.cache.and_then(|cache| Some((cache, cache.release()?))) else {
            return Err(error);
        };
        let bytes = cache.read(&release, self.options.max_bytes)?;
        self.registry.verify(&release, &bytes).map_err(SourceError::from)?;
        let scorer = fit(read(&release, &bytes, self.options.clone())?)?;
        tracing::error!(%error, version = release.version, "started from the copy in `model.cache_dir`");
        Ok((scorer, release))
    }

    fn ask(&self, wanted: &Wanted, fit: Fit<'_>) -> Result<(Scorer, Release), LifeError> {
        let release = self.registry.release(wanted).map_err(SourceError::from)?;
        let (model, bytes) = take(self.registry, &release, self.options.clone())?;
        let scorer = fit(model)?;
        // What cannot be used must not take the place of what can.
        keep(self.cache, &release, &bytes);
        Ok((scorer, release))
    }
}

fn keep(cache: Option<&Cache>, release: &Release, bytes: &[u8]) {
    let Some(cache) = cache else { return };
    if let Err(error) = cache.keep(release, bytes) {
        tracing::warn!(%error, "`model.cache_dir` cannot be written: without the registry there will be no start");
    }
}

impl ModelLife {
    /// Asks the registry which version is to serve, and takes it when it is another one.
    pub(super) fn look_for_served(&self, wanted: &Wanted, at_once: bool) -> Result<(), LifeError> {
        let _one = self.loading.lock();
        let mut followed = self.followed[0].lock();
        let found = self.find_served(wanted, (&mut followed, at_once));
        let outcome = match found {
            Ok(Found::Taken(scorer, release, guarded)) => {
                let placed = self.put_in_service(*scorer, (Some(&release), guarded));
                placed.map(|()| Look::Taken)
            }
            Ok(Found::Waiting) => Ok(Look::Refused),
            Ok(Found::Unchanged) => Ok(Look::Unchanged),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome
            && error.is_of_model()
        {
            self.noted(Some(error.to_string()));
        }
        if let Ok(Look::Taken) = outcome {
            self.noted(None);
        }
        self.note_look(&mut followed, outcome, "the model in service serves on")
    }

    fn find_served(&self, wanted: &Wanted, (followed, at_once): (&mut Followed, bool)) -> Result<Found, LifeError> {
        let Some(registry) = &self.registry else { return Ok(Found::Unchanged) };
        self.tell_marks();
        let release = registry.release(wanted).map_err(SourceError::from)?;
        let mut standing = self.standing.lock();
        let serving = standing.serving.as_ref().is_some_and(|serving| serving.is_same(&release));
        if serving && release.rolled_back.is_some() {
            drop(standing);
            return self.leave_marked(registry, &release);
        }
        if serving {
            return Ok(Found::Unchanged);
        }
        if release.rolled_back.is_none() {
            // Somebody has taken the mark away again.
            standing.barred.retain(|one| !(one.told && one.release.as_ref().is_some_and(|r| r.is_same(&release))));
        }
        let hash = release.sha256.as_deref().unwrap_or_default();
        if let Some(barred) = standing.bar_of(hash) {
            let mark = barred.mark.clone();
            return if at_once { Err(LifeError::Barred { mark }) } else { Ok(Found::Waiting) };
        }
        drop(standing);
        if !at_once && followed.is_to_wait(&release) {
            return Ok(Found::Waiting);
        }
        let options = source::options(&self.model).map_err(SourceError::from)?;
        let taken = take(registry, &release, options).map_err(LifeError::from);
        let fitted = taken.and_then(|(model, bytes)| Ok((self.fit(model)?, bytes)));
        match fitted {
            Ok((scorer, bytes)) => {
                keep(self.cache.as_ref(), &release, &bytes);
                self.forget_old_copies(&release);
                followed.refused = None;
                Ok(Found::Taken(Box::new(scorer), release, true))
            }
            Err(error) => {
                followed.refuse(release, &error, self.model.mlflow.poll.0);
                Err(error)
            }
        }
    }

    /// Another replica went back from the version that serves here, too.
    fn leave_marked(&self, registry: &Registry, release: &Release) -> Result<Found, LifeError> {
        let why = release.rolled_back.clone().unwrap_or_default();
        let still = |standing: &Standing| standing.serving.as_ref().is_some_and(|serving| serving.is_same(release));
        match self.go_back((RollbackReason::Marked, &why), still) {
            Err(LifeError::NoPrevious | LifeError::PreviousBarred { .. }) => {}
            done => return done.map(|()| Found::Unchanged),
        }
        let before = Wanted { name: release.name.clone(), version: Pick::Alias(PREVIOUS.to_owned()) };
        let before = registry.release(&before).map_err(SourceError::from)?;
        let options = source::options(&self.model).map_err(SourceError::from)?;
        let (model, bytes) = take(registry, &before, options)?;
        let scorer = self.fit(model)?;
        keep(self.cache.as_ref(), &before, &bytes);
        if let Some(info) = self.info() {
            let (sha256, release) = (info.sha256.to_string(), Some(release.clone()));
            self.standing.lock().bar(Barred { sha256, release, mark: why, told: true });
        }
        self.metrics.rolled_back(RollbackReason::Marked);
        Ok(Found::Taken(Box::new(scorer), before, false))
    }

    fn forget_old_copies(&self, coming: &Release) {
        let Some(cache) = &self.cache else { return };
        let standing = self.standing.lock();
        let kept: Vec<&Release> = [Some(coming), standing.serving.as_ref()].into_iter().flatten().collect();
        cache.forget_all_but(&kept);
    }

    /// Asks where the challenger comes from, and takes it when it is another one.
    pub(super) fn look_for_challenger(&self, origin: &Origin) {
        let mut followed = self.followed[1].lock();
        let outcome = match origin {
            Origin::Registry(wanted) => self.find_challenger(wanted, &mut followed),
            other => self.load_challenger(other).map(|()| Look::Taken),
        };
        if let Origin::Registry(_) = origin {
            // Logged and counted there.
            let _ = self.note_look(&mut followed, outcome, "no other challenger is taken");
        } else if let Err(error) = outcome {
            self.refuse(&error, "the challenger is refused");
        }
    }

    fn find_challenger(&self, wanted: &Wanted, followed: &mut Followed) -> Result<Look, LifeError> {
        let Some(registry) = &self.registry else { return Ok(Look::Unchanged) };
        let mut known = self.challenging.lock();
        let release = match registry.release(wanted) {
            // Most of the time nobody challenges.
            Err(RegistryError::NoVersion { .. }) => {
                if known.take().is_some() {
                    self.challenge(None);
                }
                return Ok(Look::Unchanged);
            }
            found => found.map_err(SourceError::from)?,
        };
        if known.as_ref().is_some_and(|known| known.is_same(&release)) {
            return Ok(Look::Unchanged);
        }
        if followed.is_to_wait(&release) {
            return Ok(Look::Refused);
        }
        let options = LoadOptions { max_bytes: self.model.max_bytes, ..LoadOptions::default() };
        let taken = take(registry, &release, options).map_err(LifeError::from);
        match taken.and_then(|(model, _)| self.fit(model)) {
            Ok(scorer) => {
                followed.refused = None;
                *known = Some(release);
                self.challenge(Some(scorer));
                Ok(Look::Taken)
            }
            Err(error) => {
                followed.refuse(release, &error, self.model.mlflow.poll.0);
                Err(error)
            }
        }
    }

    fn load_challenger(&self, origin: &Origin) -> Result<(), LifeError> {
        let options = LoadOptions { max_bytes: self.model.max_bytes, ..LoadOptions::default() };
        let model = source::load(origin, self.model.shadow.sha256.as_deref(), &options)?;
        self.challenge(Some(self.fit(model)?));
        Ok(())
    }

    /// Counts a look and logs what is new about it.
    fn note_look(
        &self,
        followed: &mut Followed,
        outcome: Result<Look, LifeError>,
        then: &'static str,
    ) -> Result<(), LifeError> {
        match outcome {
            Ok(look) => {
                self.metrics.looked_at_registry(look);
                if look != Look::Refused && followed.problem.is_some() {
                    tracing::info!("the registry answers again as it should");
                    followed.is_new(None);
                }
                Ok(())
            }
            Err(error) => {
                let refused = error.is_of_model();
                self.metrics.looked_at_registry(if refused { Look::Refused } else { Look::Failed });
                self.metrics.model_refused(error.reason());
                if refused {
                    self.metrics.error(ErrorType::ReloadRefused);
                }
                if followed.is_new(Some(error.to_string())) {
                    tracing::error!(%error, reason = error.reason(), "{then}");
                }
                Err(error)
            }
        }
    }
}
