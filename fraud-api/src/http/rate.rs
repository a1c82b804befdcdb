//! How often one caller may come.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::problem::ApiError;
use crate::settings::RateLimitSettings;

/// Callers remembered at once. One that has been away long enough to have all its requests back is
/// forgotten; should so many be active at once, newcomers share one allowance.
const MAX_CALLERS: usize = 100_000;

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// By the name of its key.
    Key(Arc<str>),
    /// By its address; of IPv6 the first 64 bits, since one customer has at least those.
    Address(IpAddr),
    /// One of the many beyond those remembered.
    Other,
}

impl Caller {
    /// The caller at an address.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(wide) => IpAddr::V6((wide.to_bits() >> 64 << 64).into()),
            narrow => narrow,
        })
    }
}

/// What is left of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The most that may come at once.
    pub limit: u32,
    /// What may still come at once.
    pub remaining: u32,
    /// Until all of it is back.
    pub reset: Duration,
}

/// Spends allowances. A caller's state is one number: the time at which it will have everything back
/// (the generic cell rate algorithm).
#[derive(Debug)]
pub struct RateLimit {
    /// Nanoseconds that one request costs.
    cost: u64,
    burst: u32,
    start: Instant,
    callers: Mutex<std::collections::HashMap<Caller, u64>>,
}

impl RateLimit {
    /// `None` without a limit.
    #[must_use]
    pub fn new(settings: &RateLimitSettings) -> Option<Self> {
        let rate = u64::from(settings.requests_per_second);
        let cost = 1_000_000_000_u64.checked_div(rate)?;
        let burst = if settings.burst == 0 { settings.requests_per_second } else { settings.burst };
        Some(Self { cost: cost.max(1), burst, start: Instant::now(), callers: Mutex::default() })
    }

    /// The policy as the `RateLimit-Policy` header writes it.
    #[must_use]
    pub fn policy(&self) -> String {
        let window = (u64::from(self.burst) * self.cost).div_ceil(1_000_000_000).max(1);
        format!("\"default\";q={};w={window}", self.burst)
    }

    /// Spends one request of the caller's.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`] when nothing is left.
    pub fn spend(&self, caller: Caller, now: Instant) -> Result<Standing, ApiError> {
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let mut callers = self.callers.lock();
        if callers.len() >= MAX_CALLERS && !callers.contains_key(&caller) {
            callers.retain(|_, full_at| *full_at > now);
        }
        let caller =
            if callers.len() >= MAX_CALLERS && !callers.contains_key(&caller) { Caller::Other } else { caller };
        let full_at = callers.entry(caller).or_insert(now);
        let next = (*full_at).max(now) + self.cost;
        let whole = u64::from(self.burst) * self.cost;
        if next - now > whole {
            return Err(ApiError::RateLimited { retry_after: Duration::from_nanos(next - now - whole) });
        }
        *full_at = next;
        let remaining = u32::try_from((whole - (next - now)) / self.cost).unwrap_or(u32::MAX);
        Ok(Standing { limit: self.burst, remaining, reset: Duration::from_nanos(next - now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests_per_second: u32, burst: u32) -> RateLimit {
        RateLimit::new(&RateLimitSettings { requests_per_second, burst }).unwrap()
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limit = limit(10, 5);
        let caller = Caller::Key("a".into());
        let now = limit.start;
        for left in (0..5).rev() {
            assert_eq!(limit.spend(caller.clone(), now).unwrap().remaining, left);
        }
        let Err(ApiError::RateLimited { retry_after }) = limit.spend(caller.clone(), now) else { panic!() };
        assert_eq!(retry_after, Duration::from_millis(100));
        assert!(limit.spend(Caller::Key("b".into()), now).is_ok());
        assert!(limit.spend(caller.clone(), now + retry_after).is_ok());
        assert!(limit.spend(caller, now + retry_after).is_err());
        assert_eq!(limit.policy(), "\"default\";q=5;w=1");
    }

    #[test]
    fn callers_who_are_gone_are_forgotten() {
        let limit = limit(1_000_000, 1);
        for number in 0..u32::try_from(MAX_CALLERS).unwrap() + 10 {
            let now = limit.start + Duration::from_micros(u64::from(number) * 10);
            limit.spend(Caller::at(IpAddr::V4(number.into())), now).unwrap();
        }
        assert!(limit.callers.lock().len() <= MAX_CALLERS);
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let at = |text: &str| Caller::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:1.2.3.4"), at("1.2.3.4"));
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        assert!(RateLimit::new(&RateLimitSettings::default()).is_none());
    }
}
