//! Profiles: how the rate goes over time.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::load::clock::SECOND;
use crate::load::schedule::{Phase, to_nanoseconds};

/// Rates of the attack, in transactions a second.
pub const ATTACK_RATES: [f64; 4] = [50.0, 200.0, 500.0, 1_500.0];
/// How long each of its phases lasts, in seconds.
pub const ATTACK_SECONDS: [f64; 4] = [60.0, 120.0, 180.0, 300.0];
/// The pause between them, in seconds.
pub const PAUSE_SECONDS: f64 = 10.0;

/// The name of a profile, or its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// One rate.
    Constant,
    /// Four steps with pauses, each a multiple of the one before.
    Attack,
    /// From nothing to the rate in a straight line, and then held for a fifth of the time.
    Ramp,
    /// A tenth of the rate, the rate for a fifth of the time, and back.
    Spike,
    /// One rate for long.
    Soak,
    /// Phases of a TOML file.
    File(PathBuf),
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "constant" => Self::Constant,
            "attack" => Self::Attack,
            "ramp" => Self::Ramp,
            "spike" => Self::Spike,
            "soak" => Self::Soak,
            file if Path::new(file).extension().is_some_and(|extension| extension == "toml") => Self::File(file.into()),
            other => {
                return Err(format!(
                    "`{other}` is none of constant, attack, ramp, spike, soak, and no file named .toml"
                ));
            }
        })
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Attack => f.write_str("attack"),
            Self::Ramp => f.write_str("ramp"),
            Self::Spike => f.write_str("spike"),
            Self::Soak => f.write_str("soak"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What of a profile is overridden.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The highest rate, in transactions a second.
    pub rate: Option<f64>,
    /// Length of all of it, pauses included, in seconds; not for the attack and files.
    pub seconds: Option<f64>,
    /// The attack's rates.
    pub rates: Vec<f64>,
    /// The attack's phases' lengths, in seconds.
    pub phase_seconds: Vec<f64>,
    /// The pause between the attack's phases, in seconds.
    pub pause: Option<f64>,
}

/// Why there is no such profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A phase that is none.
    #[error("phase `{phase}`: {problem}")]
    Phase {
        /// Its name.
        phase: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An option that the profile does not have.
    #[error("--{option} says nothing to the profile `{profile}`")]
    Option {
        /// The option.
        option: &'static str,
        /// The profile.
        profile: String,
    },
    /// Lists of different lengths.
    #[error("--rates has {rates} entries and --phase-seconds {seconds}: give as many of both")]
    Lengths {
        /// Entries of the one.
        rates: usize,
        /// Entries of the other.
        seconds: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    phases: Vec<FilePhase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePhase {
    name: String,
    seconds: f64,
    rate: Option<f64>,
    from: Option<f64>,
    to: Option<f64>,
}

impl Profile {
    /// Its phases, in transactions a second. A `rate` given for the attack or a file scales all of it so that its highest
    /// rate is that one.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn phases(&self, overrides: &Overrides) -> Result<Vec<Phase>, ProfileError> {
        let attack = *self == Self::Attack;
        let given = [
            ("rates", !overrides.rates.is_empty() && !attack),
            ("phase-seconds", !overrides.phase_seconds.is_empty() && !attack),
            ("pause", overrides.pause.is_some() && !attack),
            ("duration", overrides.seconds.is_some() && (attack || matches!(self, Self::File(_)))),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, wrong)| *wrong) {
            return Err(ProfileError::Option { option, profile: self.to_string() });
        }
        let rate = overrides.rate.unwrap_or(100.0);
        let seconds = |default: f64| overrides.seconds.unwrap_or(default);
        let ramp =
            |name: &str, from, to, seconds| Phase { name: name.into(), from, to, duration: to_nanoseconds(seconds) };
        let phases = match self {
            Self::Constant => vec![Phase::steady("constant", rate, seconds(60.0))],
            Self::Soak => vec![Phase::steady("soak", rate, seconds(1_800.0))],
            Self::Ramp => {
                let all = seconds(300.0);
                vec![ramp("ramp", 0.0, rate, all * 0.8), Phase::steady("top", rate, all * 0.2)]
            }
            Self::Spike => {
                let (all, base) = (seconds(300.0), rate / 10.0);
                vec![
                    Phase::steady("before", base, all * 0.4),
                    Phase::steady("spike", rate, all * 0.2),
                    Phase::steady("after", base, all * 0.4),
                ]
            }
            Self::Attack => scaled(attack_phases(overrides)?, overrides.rate),
            Self::File(path) => scaled(read(path)?, overrides.rate),
        };
        match phases.iter().find_map(|phase| Some((phase, problem(phase)?))) {
            Some((phase, problem)) => Err(ProfileError::Phase { phase: phase.name.clone(), problem }),
            None => Ok(phases),
        }
    }
}

fn problem(phase: &Phase) -> Option<&'static str> {
    let rate = |rate: f64| rate.is_finite() && rate >= 0.0;
    if !(rate(phase.from) && rate(phase.to)) {
        Some("a rate must be a number of at least 0")
    } else if phase.duration < SECOND / 10 {
        Some("a phase must last at least a tenth of a second")
    } else {
        None
    }
}

fn attack_phases(overrides: &Overrides) -> Result<Vec<Phase>, ProfileError> {
    let or = |given: &[f64], default: &[f64]| if given.is_empty() { default.to_vec() } else { given.to_vec() };
    let rates = or(&overrides.rates, &ATTACK_RATES);
    let seconds = or(&overrides.phase_seconds, &ATTACK_SECONDS);
    if rates.len() != seconds.len() {
        return Err(ProfileError::Lengths { rates: rates.len(), seconds: seconds.len() });
    }
    let pause = overrides.pause.unwrap_or(PAUSE_SECONDS);
    let mut phases = Vec::new();
    for (number, (rate, seconds)) in rates.into_iter().zip(seconds).enumerate() {
        if number > 0 && pause > 0.0 {
            phases.push(Phase::steady(format!("pause {number}"), 0.0, pause));
        }
        phases.push(Phase::steady(format!("attack {}", number + 1), rate, seconds));
    }
    Ok(phases)
}

fn read(path: &Path) -> Result<Vec<Phase>, ProfileError> {
    let wrong = |problem: String| ProfileError::File { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if file.phases.is_empty() {
        return Err(wrong("it has no [[phases]]".to_owned()));
    }
    file.phases
        .into_iter()
        .map(|phase| {
            let (from, to) = match (phase.rate, phase.from, phase.to) {
                (Some(rate), None, None) => (rate, rate),
                (None, Some(from), Some(to)) => (from, to),
                _ => return Err(ProfileError::Phase { phase: phase.name, problem: "give `rate`, or `from` and `to`" }),
            };
            Ok(Phase { name: phase.name, from, to, duration: to_nanoseconds(phase.seconds) })
        })
        .collect()
}

fn scaled(mut phases: Vec<Phase>, top: Option<f64>) -> Vec<Phase> {
    let highest = highest(&phases);
    if let Some(top) = top.filter(|_| highest > 0.0) {
        for phase in &mut phases {
            phase.from *= top / highest;
            phase.to *= top / highest;
        }
    }
    phases
}

/// The highest rate of some phases.
#[must_use]
pub fn highest(phases: &[Phase]) -> f64 {
    phases.iter().map(|phase| phase.from.max(phase.to)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(phases: &[Phase]) -> Vec<f64> {
        phases.iter().map(|phase| phase.to).collect()
    }

    #[test]
    fn the_attack_is_the_designs() {
        let phases = Profile::Attack.phases(&Overrides::default()).unwrap();
        assert_eq!(rates(&phases), [50.0, 0.0, 200.0, 0.0, 500.0, 0.0, 1_500.0]);
        let seconds: Vec<f64> = phases.iter().filter(|phase| !phase.is_pause()).map(Phase::seconds).collect();
        assert_eq!(seconds, ATTACK_SECONDS);
    }

    #[test]
    fn the_attack_keeps_its_shape_when_it_is_scaled() {
        let overrides = Overrides { rate: Some(3_000.0), pause: Some(0.0), ..Overrides::default() };
        assert_eq!(rates(&Profile::Attack.phases(&overrides).unwrap()), [100.0, 400.0, 1_000.0, 3_000.0]);
    }

    #[test]
    fn every_phase_can_be_overridden() {
        let overrides = Overrides {
            rates: vec![1.0, 2.0],
            phase_seconds: vec![3.0, 4.0],
            pause: Some(1.0),
            ..Overrides::default()
        };
        let phases = Profile::Attack.phases(&overrides).unwrap();
        assert_eq!(phases.iter().map(Phase::seconds).collect::<Vec<_>>(), [3.0, 1.0, 4.0]);
        let overrides = Overrides { rates: vec![1.0], ..Overrides::default() };
        assert!(matches!(Profile::Attack.phases(&overrides), Err(ProfileError::Lengths { rates: 1, seconds: 4 })));
    }

    #[test]
    fn files_are_read_and_their_mistakes_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        let phases = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Profile::File(path.clone()).phases(&Overrides::default())
        };
        let good = "[[phases]]\nname='a'\nrate=5\nseconds=2\n[[phases]]\nname='b'\nfrom=5\nto=50\nseconds=0.5\n";
        assert_eq!(rates(&phases(good).unwrap()), [5.0, 50.0]);
        for (text, part) in [
            ("", "phases"),
            ("phases=[]", "no [[phases]]"),
            ("[[phases]]\nname='a'\nseconds=2\n", "give `rate`"),
            ("[[phases]]\nname='a'\nrate=-1\nseconds=2\n", "at least 0"),
            ("[[phases]]\nname='a'\nrate=1\nseconds=0\n", "tenth"),
            ("[[phases]]\nname='a'\nrate=1\nseconds=1\nx=1\n", "unknown field"),
        ] {
            let error = phases(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn options_of_other_profiles_are_refused() {
        let overrides = Overrides { rates: vec![1.0], ..Overrides::default() };
        let error = Profile::Ramp.phases(&overrides).unwrap_err().to_string();
        assert_eq!(error, "--rates says nothing to the profile `ramp`");
        assert!("x".parse::<Profile>().is_err());
    }
}
