//! What kube-state-metrics and cAdvisor would say of the stand-in, under their names.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::Ordering;

use super::State;

/// Clock ticks a second and bytes of a page: constants of Linux' interface to programs.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4_096;

/// Seconds of CPU that a process has used.
pub(super) fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn resident_bytes(process: u32) -> Option<u64> {
    let pages: u64 = fs::read_to_string(format!("/proc/{process}/statm")).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// One family after another, each with its type.
struct Text(String);

impl Text {
    fn family<'a>(&mut self, (name, kind): (&str, &str), samples: impl IntoIterator<Item = (&'a str, String)>) {
        let _ = writeln!(self.0, "# HELP {name} As the cluster would say it.\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
        }
    }
}

impl State {
    /// The replicas as targets, with the labels that a ServiceMonitor gives.
    pub(super) fn targets(&self) -> String {
        let namespace = &self.size.namespace;
        let targets: Vec<String> = self
            .pods
            .lock()
            .unwrap()
            .iter()
            .map(|pod| {
                let (name, port) = (&pod.name, pod.port);
                format!(
                    "{{\"targets\":[\"127.0.0.1:{port}\"],\"labels\":{{\"job\":\"fraud-api\",\"namespace\":\"{namespace}\",\
                     \"pod\":\"{name}\",\"container\":\"fraud-api\",\"service\":\"fraud-api\",\"process\":\"{}\"}}}}",
                    pod.process.id()
                )
            })
            .collect();
        format!("[{}]", targets.join(","))
    }

    /// Everything in Prometheus' text format.
    pub(super) fn series(&self) -> String {
        let mut text = Text(String::new());
        let namespace = &self.size.namespace;
        let pods = self.pods.lock().unwrap();
        let ready = pods.iter().filter(|pod| pod.ready).count();
        let deployment = format!("namespace=\"{namespace}\",deployment=\"fraud-api\"");
        let autoscaler = format!("namespace=\"{namespace}\",horizontalpodautoscaler=\"fraud-api\"");
        let wanted = self.wanted.load(Ordering::SeqCst);
        for (name, labels, value) in [
            ("kube_deployment_spec_replicas", &deployment, wanted),
            ("kube_deployment_status_replicas", &deployment, pods.len()),
            ("kube_deployment_status_replicas_available", &deployment, ready),
            ("kube_horizontalpodautoscaler_spec_min_replicas", &autoscaler, self.size.min),
            ("kube_horizontalpodautoscaler_spec_max_replicas", &autoscaler, self.size.max),
            ("kube_horizontalpodautoscaler_status_current_replicas", &autoscaler, pods.len()),
            ("kube_horizontalpodautoscaler_status_desired_replicas", &autoscaler, wanted),
        ] {
            text.family((name, "gauge"), [(labels.as_str(), value.to_string())]);
        }
        let of_pods: Vec<String> = pods
            .iter()
            .map(|pod| format!("namespace=\"{namespace}\",pod=\"{}\",container=\"fraud-api\"", pod.name))
            .collect();
        let each = || pods.iter().zip(&of_pods);
        let limits: Vec<(String, String)> = of_pods
            .iter()
            .flat_map(|labels| {
                [
                    (format!("{labels},resource=\"cpu\",unit=\"core\""), self.cores().to_string()),
                    (format!("{labels},resource=\"memory\",unit=\"byte\""), self.size.memory.to_string()),
                ]
            })
            .collect();
        let limits = limits.iter().map(|(labels, value)| (labels.as_str(), value.clone()));
        text.family(("kube_pod_container_resource_limits", "gauge"), limits);
        let restarts = each().map(|(pod, labels)| (labels.as_str(), pod.restarts.to_string()));
        text.family(("kube_pod_container_status_restarts_total", "counter"), restarts);
        let waiting: Vec<String> = each()
            .filter(|(pod, _)| pod.waiting_since.is_some())
            .map(|(_, labels)| format!("{labels},reason=\"CrashLoopBackOff\""))
            .collect();
        let waiting = waiting.iter().map(|labels| (labels.as_str(), "1".to_owned()));
        text.family(("kube_pod_container_status_waiting_reason", "gauge"), waiting);
        // cAdvisor gives the pod as a whole beside its container.
        let whole: Vec<String> =
            of_pods.iter().map(|labels| labels.replace("container=\"fraud-api\"", "container=\"\"")).collect();
        let both = || each().chain(pods.iter().zip(&whole));
        let used = both().map(|(pod, labels)| {
            (labels.as_str(), format!("{:.6}", self.controller.used(&pod.folders, pod.process.id())))
        });
        text.family(("container_cpu_usage_seconds_total", "counter"), used);
        let memory = both()
            .map(|(pod, labels)| (labels.as_str(), resident_bytes(pod.process.id()).unwrap_or_default().to_string()));
        text.family(("container_memory_working_set_bytes", "gauge"), memory);
        text.0
    }
}
