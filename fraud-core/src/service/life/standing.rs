//! What stands where: the served model, the one before, the challenger, and who may not come back.

use std::sync::Arc;

use super::{LifeError, ModelLife};
use crate::scorer::Scorer;
use crate::service::clock;
use crate::service::guards::{Guard, Verdict};
use crate::service::metrics::{ModelInfo, RollbackReason};
use crate::service::shadow::{Challenger, Members, Report};
use crate::service::source::Release;

/// How many models are remembered not to be taken again.
const MAX_BARRED: usize = 64;

/// A model that is not taken again.
#[derive(Debug, Clone)]
pub(super) struct Barred {
    pub sha256: String,
    /// The registry's version, where it came from there.
    pub release: Option<Release>,
    /// Reason and time, as it is written in the registry.
    pub mark: String,
    /// The registry knows.
    pub told: bool,
}

/// Who stands where.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The registry's versions of the served model and the one before, where they came from there.
    pub serving: Option<Release>,
    pub previous: Option<Release>,
    pub barred: Vec<Barred>,
    /// The challenger, with profiles of its own.
    pub challenger: Option<Scorer>,
    pub guard: Option<Arc<Guard>>,
}

impl Standing {
    /// The entry that keeps a model out, by its file.
    pub(super) fn bar_of(&self, sha256: &str) -> Option<&Barred> {
        self.barred.iter().find(|barred| barred.sha256 == sha256)
    }

    /// Keeps a model out.
    pub(super) fn bar(&mut self, barred: Barred) {
        self.barred.retain(|known| known.sha256 != barred.sha256);
        if self.barred.len() == MAX_BARRED {
            self.barred.remove(0);
        }
        self.barred.push(barred);
    }
}

fn sha256(scorer: &Scorer) -> Option<&str> {
    scorer.model().map(|model| model.sha256())
}

impl ModelLife {
    /// Puts a model in service, with the guards on where they are to be: not over one that takes the place of a model
    /// that was left, which is nothing to be compared with.
    pub(super) fn put_in_service(
        &self,
        scorer: Scorer,
        (release, guarded): (Option<&Release>, bool),
    ) -> Result<(), LifeError> {
        let mut standing = self.standing.lock();
        if let Some(barred) = sha256(&scorer).and_then(|hash| standing.bar_of(hash)) {
            return Err(LifeError::Barred { mark: barred.mark.clone() });
        }
        let before = self.under_policy_of(&scorer, self.shared.load().clone());
        let is_new = sha256(&scorer) != sha256(&before);
        standing.guard = None;
        let mut served = Arc::new(scorer);
        if self.model.guards.enabled && guarded && is_new && before.model().is_some() && served.model().is_some() {
            served = self.guard(&mut standing, &served, &before);
        }
        let (served, members) = self.arrange(&mut standing, served);
        let begin = std::time::Instant::now();
        let gone = self.shared.swap(served);
        let pause = begin.elapsed();
        self.shared.refit_previous(before);
        drop(gone);
        self.beside.set(members);
        if is_new || release.is_some() {
            standing.previous = standing.serving.take();
        }
        standing.serving = release.cloned();
        self.swap_pause
            .store(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX), std::sync::atomic::Ordering::Relaxed);
        let info = self.info();
        tracing::info!(
            model = info.as_ref().map(|info| &*info.name),
            version = info.as_ref().map(|info| &*info.version),
            sha256 = info.as_ref().map(|info| &*info.sha256),
            pause_ns = self.swap_pause.load(std::sync::atomic::Ordering::Relaxed),
            guarded = standing.guard.is_some(),
            "a new model is in service"
        );
        Ok(())
    }

    /// A model under the policy in force, which is not that of its own time; as it is where the two do not fit.
    fn under_policy_of(&self, in_force: &Scorer, scorer: Arc<Scorer>) -> Arc<Scorer> {
        if scorer.model().is_none() {
            return scorer;
        }
        let fitted = scorer.with_policy_of(in_force).map_err(LifeError::from).and_then(|scorer| {
            scorer.features().check_history(self.history)?;
            Ok(scorer)
        });
        match fitted {
            Ok(scorer) => Arc::new(scorer),
            Err(error) => {
                let version = &**scorer.model_version();
                tracing::warn!(%error, version, "the policy does not fit this model, which keeps its own one");
                scorer
            }
        }
    }

    /// Begins to compare `served` with `before`: the form of `served` that answers both.
    fn guard(&self, standing: &mut Standing, served: &Arc<Scorer>, before: &Scorer) -> Arc<Scorer> {
        let wide = Arc::new(served.with_windows_of([before]));
        standing.guard = Guard::new(&self.model.guards, &wide, before).map(Arc::new);
        wide
    }

    /// Puts the served model in service with another policy, and all others beside it. A guard begins its window anew:
    /// what was compared under the old policy says nothing now.
    pub(super) fn exchange_policy(&self, scorer: Scorer) {
        let mut standing = self.standing.lock();
        let mut served = Arc::new(scorer);
        if let Some(previous) = self.shared.previous() {
            let previous = self.under_policy_of(&served, previous);
            if standing.guard.is_some() {
                served = self.guard(&mut standing, &served, &previous);
            }
            self.shared.refit_previous(previous);
        }
        let challenger =
            standing.challenger.take().map(|challenger| challenger.with_policy_of(&served).unwrap_or(challenger));
        standing.challenger = challenger;
        self.shared.refit(served);
        self.refit(&mut standing);
        tracing::info!(policy = &**self.shared.load().policy_version(), "a new policy is in service");
    }

    /// Exchanges the challenger.
    pub(super) fn challenge(&self, challenger: Option<Scorer>) {
        let mut standing = self.standing.lock();
        match challenger.as_ref().and_then(ModelInfo::of) {
            Some(info) => tracing::info!(version = &*info.version, "a challenger scores beside the model in service"),
            None => tracing::info!("the challenger is gone"),
        }
        standing.challenger = challenger;
        self.refit(&mut standing);
    }

    /// Makes the served model's profiles answer what is needed now.
    fn refit(&self, standing: &mut Standing) {
        let serving = self.shared.load().clone();
        let (served, members) = self.arrange(standing, serving.clone());
        if !Arc::ptr_eq(&served, &serving) {
            self.shared.refit(served);
        }
        self.beside.set(members);
    }

    /// The served model with profiles for all who look at them, and who looks.
    fn arrange(&self, standing: &mut Standing, serving: Arc<Scorer>) -> (Arc<Scorer>, Members) {
        let challenger = standing.challenger.as_ref().filter(|challenger| sha256(challenger) != sha256(&serving));
        let previous = standing.guard.as_ref().map(|guard| guard.previous());
        let wide = serving.with_windows_of(challenger.into_iter().chain(previous));
        let same = wide.profile_plan().fingerprint() == serving.profile_plan().fingerprint();
        let served = if same { serving } else { Arc::new(wide) };
        standing.guard = standing.guard.take().and_then(|guard| {
            if Arc::ptr_eq(guard.served(), &served) { Some(guard) } else { guard.refit(&served).map(Arc::new) }
        });
        let now = self.beside.members();
        let challenger = challenger.and_then(|challenger| {
            // The same pair goes on in the same report.
            let known = now.challenger.as_ref().filter(|known| {
                Arc::ptr_eq(known.scorer.model_version(), challenger.model_version())
                    && now.served.as_ref().is_some_and(|now| Arc::ptr_eq(now.model_version(), served.model_version()))
            });
            let report = match known {
                Some(known) => known.report.clone(),
                None => Arc::new(Report::new(&self.model.shadow)),
            };
            Some(Challenger { scorer: challenger.reading_profiles_of(&served)?, report })
        });
        let members = Members { served: Some(served.clone()), challenger, guard: standing.guard.clone() };
        (served, members)
    }

    /// Goes back to the model before, if what calls for it `still` stands. What is left is not taken again where
    /// `reason` is one that says so.
    pub(super) fn go_back(
        &self,
        (reason, figures): (RollbackReason, &str),
        still: impl FnOnce(&Standing) -> bool,
    ) -> Result<(), LifeError> {
        let mut standing = self.standing.lock();
        if !still(&standing) {
            return Ok(());
        }
        let left = self.shared.load().clone();
        let Some(previous) = self.shared.previous() else { return Err(LifeError::NoPrevious) };
        if let Some(barred) = sha256(&previous).and_then(|hash| standing.bar_of(hash)) {
            return Err(LifeError::PreviousBarred { mark: barred.mark.clone() });
        }
        let mark = format!("{}, {}", reason.as_str(), clock::rfc3339_text(clock::unix_millis()));
        // A file that an operator went back from may be loaded again by the same hand; a version that is followed
        // would come back by itself.
        let by_hand = reason == RollbackReason::Operator && standing.serving.is_none();
        if let Some(hash) = sha256(&left).filter(|_| !by_hand) {
            let told = reason == RollbackReason::Marked || standing.serving.is_none();
            let (sha256, release) = (hash.to_owned(), standing.serving.clone());
            standing.bar(Barred { sha256, release, mark: mark.clone(), told });
        }
        standing.guard = None;
        let Standing { serving, previous: before, .. } = &mut *standing;
        std::mem::swap(serving, before);
        self.shared.rollback();
        self.refit(&mut standing);
        self.metrics.rolled_back(reason);
        self.noted(Some(format!("went back to the model before: {} ({figures})", reason.as_str())));
        tracing::warn!(
            left = &**left.model_version(),
            serving = &**previous.model_version(),
            reason = reason.as_str(),
            figures,
            "went back to the model before"
        );
        if let Some((cache, release)) = self.cache.as_ref().zip(standing.serving.as_ref())
            && let Err(error) = cache.point_at(release)
        {
            tracing::warn!(%error, "`model.cache_dir` still names the version that was left");
        }
        Ok(())
    }

    /// Sees what the guards say; called now and then.
    pub(super) fn look_after_guards(&self) {
        let guard = self.standing.lock().guard.clone();
        let Some(guard) = guard else { return };
        // Meanwhile another model, or the same under another policy, may have come.
        let still = |standing: &Standing| standing.guard.as_ref().is_some_and(|now| Arc::ptr_eq(now, &guard));
        match guard.verdict() {
            Verdict::Going => {}
            Verdict::Passed => {
                let mut standing = self.standing.lock();
                if !still(&standing) {
                    return;
                }
                standing.guard = None;
                self.refit(&mut standing);
                tracing::info!(version = &**guard.served().model_version(), "the new model has passed its guards");
            }
            Verdict::Breach { reason, figures } => {
                if let Err(error) = self.go_back((reason, &figures), still) {
                    tracing::error!(%error, figures, "a guard is broken, but there is no model to go back to");
                }
                self.tell_marks();
            }
        }
    }

    /// Writes into the registry which versions were left, as far as it does not know yet.
    pub(super) fn tell_marks(&self) {
        let Some(registry) = &self.registry else { return };
        let untold: Vec<Barred> = self.standing.lock().barred.iter().filter(|one| !one.told).cloned().collect();
        for barred in untold {
            let Some(release) = &barred.release else { continue };
            match registry.mark(release, &barred.mark) {
                Ok(()) => {
                    let mut standing = self.standing.lock();
                    let entry = standing.barred.iter_mut().find(|known| known.sha256 == barred.sha256);
                    entry.into_iter().for_each(|entry| entry.told = true);
                    tracing::info!(version = release.version, mark = barred.mark, "marked in the registry");
                }
                Err(error) => {
                    tracing::warn!(%error, version = release.version, "not marked in the registry yet, will try again");
                }
            }
        }
    }
}
