//! What operators are told of the model in service and of its challenger: the same in every service.

use serde_json::{Value, json};

use super::ModelLife;
use crate::service::clock;

impl ModelLife {
    /// The model in service and its card, as JSON.
    #[must_use]
    pub fn card(&self) -> Value {
        let scorer = self.shared().load();
        let attempt = self.last_attempt();
        let (review_at, decline_at) = scorer.thresholds();
        let model = scorer.model().map(|model| {
            let metadata = model.metadata();
            let training = metadata.training.as_ref().map(|training| {
                json!({ "from": training.from, "to": training.to, "rows": training.rows, "frauds": training.frauds })
            });
            json!({
                "name": model.name(),
                "version": model.version(),
                "file_version": metadata.version,
                "sha256": model.sha256(),
                "engine": model.engine(),
                "features": model.features().names().collect::<Vec<_>>(),
                "metrics": metadata.metrics,
                "training": training,
            })
        });
        json!({
            "model": model,
            "registry": self.release().map(|release| {
                json!({
                    "name": release.name,
                    "version": release.version,
                    "file": release.file,
                    "signed": release.signature.is_some(),
                })
            }),
            "guarded": self.is_guarded(),
            "policy": { "version": scorer.policy_version(), "review_at": review_at, "decline_at": decline_at },
            "last_change": { "at": clock::rfc3339_text(attempt.at), "refused": attempt.refused },
        })
    }

    /// How the challenger did beside the model in service, as JSON; none where nobody challenges.
    #[must_use]
    pub fn shadow_report(&self) -> Option<Value> {
        self.beside().members().report()
    }
}
