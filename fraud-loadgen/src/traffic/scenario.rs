//! Fraud laid over the transactions.

use std::str::FromStr;

use fraud_core::transaction::AMOUNT_SCALE;
use fraud_core::{Amount, Id};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::draft::Draft;

/// Recent customers and terminals that a scenario can draw from.
const KNOWN: usize = 4_096;
/// Payments at one terminal before the card tester moves to another.
const TESTS_AT_A_TERMINAL: u32 = 500;
/// Payments on one customer before the burst moves to another.
const BURST: u32 = 20;
/// A hundredth of a unit of currency.
const CENT: i64 = AMOUNT_SCALE / 100;
/// Compromised terminals.
const TERMINALS: usize = 5;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Many small payments with many cards at one terminal, to see which cards work.
    CardTesting,
    /// Payments at a few terminals whose card readers were tampered with.
    CompromisedTerminal,
    /// Stolen card data used by someone with more expensive tastes: five times the amount.
    AmountTimesFive,
    /// Many payments of one customer within moments.
    Burst,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::CardTesting, Self::CompromisedTerminal, Self::AmountTimesFive, Self::Burst];

    /// Its name, as options and the ground truth have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CardTesting => "card-testing",
            Self::CompromisedTerminal => "compromised-terminal",
            Self::AmountTimesFive => "amount-x5",
            Self::Burst => "burst",
        }
    }
}

/// How much of the traffic a scenario takes over, and when: `card-testing=0.2` or `burst=0.1@peak`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ScenarioShare {
    /// Which.
    pub scenario: Scenario,
    /// Share of the transactions, 0 to 1.
    pub share: f64,
    /// Only in the phase of this name.
    pub phase: Option<String>,
}

impl FromStr for ScenarioShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        let problem =
            || format!("`{text}`: write NAME=SHARE or NAME=SHARE@PHASE, the share from 0 to 1, NAME one of {names}");
        let (name, rest) = text.split_once('=').ok_or_else(problem)?;
        let (share, phase) =
            rest.split_once('@').map_or((rest, None), |(share, phase)| (share, Some(phase.to_owned())));
        let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(problem)?;
        let share = share.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(problem)?;
        Ok(Self { scenario, share, phase })
    }
}

/// Who was seen lately.
#[derive(Debug, Default)]
struct Known {
    ids: Vec<Id>,
    next: usize,
}

impl Known {
    fn see(&mut self, id: &Id) {
        if self.ids.len() < KNOWN {
            self.ids.push(id.clone());
        } else {
            self.ids[self.next] = id.clone();
            self.next = (self.next + 1) % KNOWN;
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> Option<Id> {
        if self.ids.is_empty() { None } else { self.ids.get(random.random_range(0..self.ids.len())).cloned() }
    }
}

/// Turns some transactions into fraud.
pub(super) struct Overlay {
    shares: Vec<(Scenario, f64, Option<u16>)>,
    customers: Known,
    terminals: Known,
    tester: Option<(Id, u32)>,
    victim: Option<(Id, u32)>,
    compromised: Vec<Id>,
}

impl Overlay {
    /// `phases` are the phases' names, in order.
    pub(super) fn new(shares: &[ScenarioShare], phases: &[String]) -> Self {
        let shares = shares
            .iter()
            .flat_map(|share| match &share.phase {
                None => vec![(share.scenario, share.share, None)],
                Some(name) => (0u16..)
                    .zip(phases)
                    .filter(|(_, phase)| *phase == name)
                    .map(|(number, _)| (share.scenario, share.share, Some(number)))
                    .collect(),
            })
            .collect();
        Self {
            shares,
            customers: Known::default(),
            terminals: Known::default(),
            tester: None,
            victim: None,
            compromised: Vec::new(),
        }
    }

    /// Perhaps turns a transaction into fraud; answers by what.
    pub(super) fn lay(&mut self, draft: &mut Draft, phase: u16, random: &mut ChaCha8Rng) -> Option<Scenario> {
        if self.shares.is_empty() {
            return None;
        }
        self.customers.see(&draft.customer);
        self.terminals.see(&draft.terminal);
        let mut drawn: f64 = random.random();
        let scenario =
            self.shares.iter().filter(|share| share.2.is_none_or(|only| only == phase)).find_map(|share| {
                drawn -= share.1;
                (drawn < 0.0).then_some(share.0)
            })?;
        match scenario {
            Scenario::CardTesting => {
                draft.terminal = current(&mut self.tester, TESTS_AT_A_TERMINAL, || self.terminals.draw(random))?;
                draft.customer = self.customers.draw(random)?;
                draft.amount = Amount::from_units(random.random_range(10..=300) * CENT)?;
            }
            Scenario::CompromisedTerminal => {
                while self.compromised.len() < TERMINALS {
                    self.compromised.push(self.terminals.draw(random)?);
                }
                draft.terminal = self.compromised[random.random_range(0..TERMINALS)].clone();
            }
            Scenario::AmountTimesFive => {
                draft.amount = Amount::from_units(draft.amount.units().saturating_mul(5))?;
            }
            Scenario::Burst => {
                draft.customer = current(&mut self.victim, BURST, || self.customers.draw(random))?;
                draft.terminal = self.terminals.draw(random)?;
            }
        }
        draft.fraud = Some(true);
        Some(scenario)
    }
}

/// The one drawn last, for so many uses, then a new one.
fn current(held: &mut Option<(Id, u32)>, uses: u32, draw: impl FnOnce() -> Option<Id>) -> Option<Id> {
    match held {
        Some((id, left)) if *left > 0 => {
            *left -= 1;
            Some(id.clone())
        }
        _ => {
            let id = draw()?;
            *held = Some((id.clone(), uses - 1));
            Some(id)
        }
    }
}
