//! The scripts, and calls of them. Scripts keep sets: they compare, count and move members, and add up nothing that
//! is money.

use std::sync::OnceLock;

use redis::{Arg, Cmd, ToRedisArgs};

/// A script of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Id,
    Key,
    Meta,
    Reply,
    Label,
    Fraud,
    Retract,
    Cells,
    Sweep,
}

impl Script {
    pub const ALL: [Self; 9] = [
        Self::Id,
        Self::Key,
        Self::Meta,
        Self::Reply,
        Self::Label,
        Self::Fraud,
        Self::Retract,
        Self::Cells,
        Self::Sweep,
    ];

    pub fn source(self) -> &'static str {
        match self {
            Self::Id => include_str!("scripts/id.lua"),
            Self::Key => include_str!("scripts/key.lua"),
            Self::Meta => include_str!("scripts/meta.lua"),
            Self::Reply => include_str!("scripts/reply.lua"),
            Self::Label => include_str!("scripts/label.lua"),
            Self::Fraud => include_str!("scripts/fraud.lua"),
            Self::Retract => include_str!("scripts/retract.lua"),
            Self::Cells => include_str!("scripts/cells.lua"),
            Self::Sweep => include_str!("scripts/sweep.lua"),
        }
    }
}

/// A command, put together.
#[derive(Debug, Clone)]
pub(super) struct Call(Cmd);

impl Call {
    /// A script with its keys; arguments come with [`Call::arg`].
    pub fn script<K: ToRedisArgs>(script: Script, keys: &[K]) -> Self {
        let mut command = Cmd::with_capacity(keys.len() + 12, 512);
        command.arg("EVALSHA").arg(digest(script)).arg(keys.len()).arg(keys);
        Self(command)
    }

    /// A plain command.
    pub fn plain(command: &str) -> Self {
        let mut call = Cmd::new();
        call.arg(command);
        Self(call)
    }

    pub fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.0.arg(argument);
        self
    }

    /// An optional number; without it an empty text.
    pub fn number(self, number: Option<i64>) -> Self {
        match number {
            Some(number) => self.arg(number),
            None => self.arg(""),
        }
    }

    pub fn command(&self) -> &Cmd {
        &self.0
    }

    /// What stands in braces in a script's keys, by which a cluster places them; none for other commands.
    pub fn tag(&self) -> Option<&[u8]> {
        // EVALSHA, the script, the number of keys, the first key.
        let mut arguments = self.0.args_iter();
        let Some(Arg::Simple(b"EVALSHA")) = arguments.next() else { return None };
        let Some(Arg::Simple(key)) = arguments.nth(2) else { return None };
        let mut parts = key.split(|byte| matches!(byte, b'{' | b'}'));
        parts.nth(1)
    }
}

/// What servers call a script that they were given.
fn digest(script: Script) -> &'static str {
    static DIGESTS: OnceLock<[String; Script::ALL.len()]> = OnceLock::new();
    let digests =
        DIGESTS.get_or_init(|| Script::ALL.map(|script| redis::Script::new(script.source()).get_hash().to_owned()));
    &digests[script as usize]
}
