//! What the monitoring says while the load is running.

use super::web::{Labelled, Problem, alert_state, alertmanager_state, query};
use crate::report::Sample;
use crate::target::Target;

/// Where to look, and for what.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) prometheus: Target,
    pub(super) alertmanager: Option<Target>,
    pub(super) namespace: String,
    pub(super) deployment: String,
    pub(super) alert: String,
}

impl Watched {
    /// Looks once; what cannot be seen is left out, and why is said.
    pub(super) fn look(&self, at: f64) -> (Sample, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut kept = |outcome: Result<Option<u32>, Problem>| {
            outcome.unwrap_or_else(|problem| {
                problems.push(problem);
                None
            })
        };
        let (namespace, deployment) = (&self.namespace, &self.deployment);
        let replicas = kept(self.number(&format!(
            "max(kube_deployment_status_replicas{{namespace=\"{namespace}\",deployment=~\"{deployment}\"}})"
        )));
        let wanted = kept(self.number(&format!(
            "max(kube_horizontalpodautoscaler_status_desired_replicas{{namespace=\"{namespace}\",\
             horizontalpodautoscaler=~\"{deployment}\"}})"
        )));
        let ratio = format!("namespace_pod:fraud_api_cpu_of_limit:ratio_rate2m{{namespace=\"{namespace}\"}}");
        let mut sample = Sample { at, replicas, wanted, ..Sample::default() };
        match query(&self.prometheus, &ratio) {
            Ok(shares) => {
                let of_pod = |(labels, share): Labelled| labels.get("pod").map(|pod| (pod.clone(), share));
                sample.cpu = shares.into_iter().filter_map(of_pod).collect();
            }
            Err(problem) => problems.push(problem),
        }
        match alert_state(&self.prometheus, &self.alert, namespace) {
            Ok(state) => sample.alert = Some(state),
            Err(problem) => problems.push(problem),
        }
        if let Some(alertmanager) = &self.alertmanager {
            match alertmanager_state(alertmanager, &self.alert, namespace) {
                Ok(state) => sample.alertmanager = Some(state),
                Err(problem) => problems.push(problem),
            }
        }
        (sample, problems)
    }

    #[allow(clippy::cast_possible_truncation)] // A number of replicas.
    fn number(&self, expression: &str) -> Result<Option<u32>, Problem> {
        Ok(query(&self.prometheus, expression)?.first().map(|(_, value)| value.round() as u32))
    }
}
