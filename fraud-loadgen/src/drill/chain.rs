//! The chain from load to the administrator, link by link.

use crate::report::{Event, Sample};

/// A replica is hot above this share of its limit; the rule says the same.
pub(super) const HOT: f64 = 0.8;

/// A link of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// A replica was measured above 80 % of its CPU limit.
    Hot,
    /// The autoscaler brought the replicas to their maximum.
    Scaled,
    /// Prometheus saw the rule's condition.
    Pending,
    /// Prometheus fires the alert.
    Firing,
    /// Alertmanager has it.
    Alertmanager,
    /// It reached the webhook.
    Webhook,
    /// After the attack, the webhook was told that it is over.
    Resolved,
}

impl Link {
    const ALL: [Self; 7] =
        [Self::Hot, Self::Scaled, Self::Pending, Self::Firing, Self::Alertmanager, Self::Webhook, Self::Resolved];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hot => "a replica above 80 % of its CPU limit",
            Self::Scaled => "the maximum of replicas",
            Self::Pending => "the rule pending in Prometheus",
            Self::Firing => "the alert firing in Prometheus",
            Self::Alertmanager => "the alert in Alertmanager",
            Self::Webhook => "the alert at the webhook",
            Self::Resolved => "its end at the webhook",
        }
    }

    /// What to look at when it was not reached though the one before it was.
    fn advice(self) -> &'static str {
        match self {
            Self::Hot => {
                "no replica was hot: was there enough load, do the container series and the limit's series exist?"
            }
            Self::Scaled => {
                "the replicas stayed below their maximum: does the autoscaler see CPU use, and may it scale so far?"
            }
            Self::Pending => "the rule's condition never held: do its series carry the labels that it names?",
            Self::Firing => "the condition did not hold long enough: is `for` longer than the last phase?",
            Self::Alertmanager => {
                "Prometheus fires and Alertmanager has nothing: is it named in Prometheus's `alerting` section?"
            }
            Self::Webhook => "Alertmanager has it and the webhook got nothing: does the route lead to it?",
            Self::Resolved => "the end was not sent: is `send_resolved` set, was the wait long enough?",
        }
    }
}

/// What was reached, and when.
#[derive(Debug)]
pub(super) struct Chain {
    links: Vec<(Link, Option<f64>)>,
    max_replicas: u32,
    hottest: f64,
    last: Sample,
    pub(super) events: Vec<Event>,
}

impl Chain {
    /// Links that nobody watches are left out.
    pub(super) fn new(max_replicas: u32, alertmanager: bool, (webhook, resolved): (bool, bool)) -> Self {
        let watched = |link: &Link| match link {
            Link::Alertmanager => alertmanager,
            Link::Webhook => webhook,
            Link::Resolved => webhook && resolved,
            _ => true,
        };
        let links = Link::ALL.into_iter().filter(watched).map(|link| (link, None)).collect();
        Self { links, max_replicas, hottest: 0.0, last: Sample::default(), events: Vec::new() }
    }

    /// Takes in what was seen.
    pub(super) fn see(&mut self, sample: &Sample) {
        let at = sample.at;
        let hottest = sample.cpu.iter().max_by(|one, other| one.1.total_cmp(other.1));
        if let Some((pod, share)) = hottest {
            self.hottest = self.hottest.max(*share);
            if *share > HOT {
                let what = format!("{pod} uses {:.0} % of its CPU limit", share * 100.0);
                self.reach(Link::Hot, at, what);
            }
        }
        let changes = [
            ("replicas", text(self.last.replicas), text(sample.replicas)),
            ("replicas wanted by the autoscaler", text(self.last.wanted), text(sample.wanted)),
            ("alert in Prometheus", self.last.alert.clone(), sample.alert.clone()),
            ("alert in Alertmanager", self.last.alertmanager.clone(), sample.alertmanager.clone()),
        ];
        for (what, before, after) in changes {
            if let Some(after) = after.filter(|after| before.as_ref() != Some(after)) {
                let before = before.map_or(String::new(), |before| format!("{before} → "));
                self.happened(at, format!("{what}: {before}{after}"));
            }
        }
        if sample.replicas.is_some_and(|replicas| replicas >= self.max_replicas) {
            self.reach(Link::Scaled, at, String::new());
        }
        match sample.alert.as_deref() {
            Some("pending") => self.reach(Link::Pending, at, String::new()),
            Some("firing") => {
                // It was pending before, between two looks.
                self.reach(Link::Pending, at, String::new());
                self.reach(Link::Firing, at, String::new());
            }
            _ => {}
        }
        if matches!(sample.alertmanager.as_deref(), Some("active" | "suppressed")) {
            self.reach(Link::Alertmanager, at, String::new());
        }
        let before = std::mem::replace(&mut self.last, sample.clone());
        // What could not be seen this time is what it was.
        self.last.replicas = self.last.replicas.or(before.replicas);
        self.last.wanted = self.last.wanted.or(before.wanted);
        self.last.alert = self.last.alert.take().or(before.alert);
        self.last.alertmanager = self.last.alertmanager.take().or(before.alertmanager);
    }

    /// The webhook was told `firing` or `resolved`.
    pub(super) fn told(&mut self, at: f64, status: &str) {
        self.happened(at, format!("webhook received: {status}"));
        match status {
            "firing" => self.reach(Link::Webhook, at, String::new()),
            "resolved" if self.is_reached(Link::Webhook) => self.reach(Link::Resolved, at, String::new()),
            _ => {}
        }
    }

    fn reach(&mut self, link: Link, at: f64, what: String) {
        if let Some((_, reached @ None)) = self.links.iter_mut().find(|known| known.0 == link) {
            *reached = Some(at);
            if !what.is_empty() {
                self.happened(at, what);
            }
        }
    }

    pub(super) fn happened(&mut self, at: f64, what: String) {
        eprintln!("{at:>6.0} s  {what}");
        self.events.push(Event { at, what });
    }

    fn is_reached(&self, link: Link) -> bool {
        self.links.iter().any(|known| known.0 == link && known.1.is_some())
    }

    /// All links but the end of the alert.
    pub(super) fn has_alarmed(&self) -> bool {
        self.links.iter().all(|(link, reached)| *link == Link::Resolved || reached.is_some())
    }

    pub(super) fn is_firing(&self) -> bool {
        self.is_reached(Link::Firing)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.links.iter().all(|(_, reached)| reached.is_some())
    }

    pub(super) fn waits_for_end(&self) -> bool {
        self.links.iter().any(|(link, reached)| *link == Link::Resolved && reached.is_none())
    }

    pub(super) fn hottest(&self) -> f64 {
        self.hottest
    }

    pub(super) fn links(&self) -> Vec<(String, Option<f64>)> {
        self.links.iter().map(|(link, reached)| (link.name().to_owned(), *reached)).collect()
    }

    /// How it ended, in a sentence.
    pub(super) fn result(&self) -> String {
        match self.links.iter().find(|(_, reached)| reached.is_none()) {
            None => "the alarm went through the whole chain".to_owned(),
            Some((link, _)) => format!("not reached: {}; {}", link.name(), link.advice()),
        }
    }
}

fn text(number: Option<u32>) -> Option<String> {
    number.map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, (replicas, share): (u32, f64), alert: &str, alertmanager: &str) -> Sample {
        Sample {
            at,
            replicas: Some(replicas),
            wanted: Some(replicas),
            cpu: [("a".to_owned(), share / 2.0), ("b".to_owned(), share)].into(),
            alert: Some(alert.to_owned()),
            alertmanager: Some(alertmanager.to_owned()),
        }
    }

    #[test]
    fn the_whole_chain_is_a_success() {
        let mut chain = Chain::new(6, true, (true, true));
        chain.see(&sample(1.0, (4, 0.5), "inactive", "inactive"));
        chain.see(&sample(2.0, (6, 0.9), "pending", "inactive"));
        chain.see(&sample(3.0, (6, 0.95), "firing", "active"));
        assert!(!chain.has_alarmed());
        chain.told(4.0, "firing");
        assert!(chain.has_alarmed() && !chain.is_complete() && chain.waits_for_end());
        chain.told(9.0, "resolved");
        assert!(chain.is_complete());
        assert_eq!(chain.result(), "the alarm went through the whole chain");
        assert_eq!(chain.hottest(), 0.95);
        assert!(chain.events.iter().any(|event| event.what == "replicas: 4 → 6"));
    }

    #[test]
    fn the_first_missing_link_is_named() {
        let mut chain = Chain::new(6, true, (true, false));
        chain.see(&sample(1.0, (5, 0.9), "inactive", "inactive"));
        assert!(chain.result().starts_with("not reached: the maximum of replicas"), "{}", chain.result());
        chain.see(&sample(2.0, (6, 0.9), "firing", "inactive"));
        assert!(chain.result().contains("alerting"), "{}", chain.result());
        chain.see(&sample(3.0, (6, 0.9), "firing", "active"));
        assert!(chain.result().contains("route"), "{}", chain.result());
    }

    #[test]
    fn what_nobody_watches_is_not_missed() {
        let mut chain = Chain::new(6, false, (false, true));
        chain.see(&sample(1.0, (6, 0.9), "firing", "inactive"));
        assert!(chain.is_complete() && !chain.waits_for_end());
    }
}
