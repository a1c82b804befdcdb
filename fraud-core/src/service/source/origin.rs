//! Where a model comes from, as one text says it.

use std::fmt;
use std::path::PathBuf;

/// Longest name of a registered model or an alias, in bytes.
const MAX_NAME: usize = 256;

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is part of the library.
    Embedded,
    /// A file.
    File(PathBuf),
    /// An http or https address.
    Address(String),
    /// A version in MLflow's registry.
    Registry(Wanted),
}

/// Which version of a registered model is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The registered model.
    pub name: String,
    /// Which of its versions.
    pub version: Pick,
}

/// How a version is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// Whichever an alias stands at.
    Alias(String),
    /// A number.
    Number(String),
}

impl Origin {
    /// Reads `embedded`, a path, an http or https address, `mlflow:models:/NAME@ALIAS` or
    /// `mlflow:models:/NAME/VERSION`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("mlflow:") {
            return Wanted::parse(rest).map(Self::Registry);
        }
        match text {
            "" => Err("must not be empty: leave it out for the embedded model".to_owned()),
            "embedded" => Ok(Self::Embedded),
            _ if text.starts_with("http://") || text.starts_with("https://") => Ok(Self::Address(text.to_owned())),
            _ if text.contains("://") || text.starts_with("models:") => Err(format!(
                "`{text}` is of no kind known here: give `embedded`, a path, an http or https address, or \
                 `mlflow:models:/NAME@ALIAS`"
            )),
            _ => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`mlflow:{text}` is no version of a registered model: write `mlflow:models:/NAME@ALIAS`, such as \
                 `mlflow:models:/fraud@champion`, or `mlflow:models:/NAME/7`"
            )
        };
        let rest = text.strip_prefix("models:/").ok_or_else(wrong)?;
        let (name, version) = match (rest.rsplit_once('@'), rest.split_once('/')) {
            (Some((name, alias)), None) => (name, Pick::Alias(alias.to_owned())),
            (None, Some((name, number))) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, Pick::Number(number.to_owned()))
            }
            _ => return Err(wrong()),
        };
        let (Pick::Alias(second) | Pick::Number(second)) = &version;
        let sized = |part: &str| (1..=MAX_NAME).contains(&part.len()) && !part.contains(char::is_control);
        if sized(name) && sized(second) { Ok(Self { name: name.to_owned(), version }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Pick::Alias(alias) => write!(f, "models:/{}@{alias}", self.name),
            Pick::Number(number) => write!(f, "models:/{}/{number}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        let alias = Wanted { name: "fraud".to_owned(), version: Pick::Alias("champion".to_owned()) };
        let number = Wanted { name: "fraud".to_owned(), version: Pick::Number("7".to_owned()) };
        for (text, origin) in [
            ("embedded", Origin::Embedded),
            ("/models/a.onnx", Origin::File("/models/a.onnx".into())),
            ("https://h/a.onnx", Origin::Address("https://h/a.onnx".to_owned())),
            ("mlflow:models:/fraud@champion", Origin::Registry(alias)),
            ("mlflow:models:/fraud/7", Origin::Registry(number)),
        ] {
            assert_eq!(Origin::parse(text), Ok(origin), "{text}");
        }
    }

    #[test]
    fn what_is_of_no_kind_is_refused_with_advice() {
        for text in [
            "",
            "s3://bucket/a.onnx",
            "models:/fraud@champion",
            "mlflow:fraud@champion",
            "mlflow:models:/fraud",
            "mlflow:models:/fraud@",
            "mlflow:models:/@champion",
            "mlflow:models:/fraud/latest",
            "mlflow:models:/fraud/",
            "mlflow:models:/a/b@c",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
