use std::collections::{HashMap, HashSet};

use super::plane::{Nearby, Plane};
use super::settings::Stream;
use super::*;

const AMOUNT: Option<Scenario> = Some(Scenario::Amount);
const TERMINAL: Option<Scenario> = Some(Scenario::Terminal);
const CUSTOMER: Option<Scenario> = Some(Scenario::Customer);

fn small() -> Settings {
    Settings { customers: 300, terminals: 600, days: 50, seed: 11, ..Settings::default() }
}

fn simulator(settings: Settings) -> Simulator {
    Simulator::new(settings).unwrap()
}

/// A day's payments in the order they are drawn, before any fraud.
fn honest(simulator: &Simulator, day: u32) -> Vec<Payment> {
    let mut payments = Vec::new();
    for customer in 0..simulator.settings().customers {
        simulator.population.pay(customer, day, |payment| payments.push(payment));
    }
    payments
}

fn by_day(simulator: &Simulator, threads: usize) -> Vec<Vec<Payment>> {
    let mut days = Vec::new();
    let each = |payments| {
        days.push(payments);
        Ok::<(), ()>(())
    };
    simulator.try_for_each_day(NonZeroUsize::new(threads).unwrap(), each).unwrap();
    days
}

#[test]
fn threads_and_order_of_days_do_not_matter() {
    let first = simulator(small());
    let days: Vec<_> = (0..50).map(|day| first.day(day)).collect();
    let second = simulator(small());
    for day in (0..50).rev() {
        assert_eq!(second.day(day), days[day as usize]);
    }
    for threads in [1, 2, 7, 64] {
        assert_eq!(by_day(&first, threads), days, "{threads} threads");
    }
    assert!(first.payments().eq(days.into_iter().flatten()));
    assert!(first.day(50).is_empty());
}

#[test]
fn another_seed_is_another_simulation() {
    let [first, second] = [11, 12].map(|seed| simulator(Settings { seed, ..small() }));
    assert_ne!(first.day(0), second.day(0));
    assert_ne!(first.population.places(), second.population.places());
}

/// The shipped model is trained on a simulation: another generator, even a better one, changes it.
#[test]
fn the_generator_is_still_the_same() {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    for payment in simulator(small()).payments() {
        digest.update(payment.time_seconds().to_le_bytes());
        digest.update(payment.customer.to_le_bytes());
        digest.update(payment.terminal.to_le_bytes());
        digest.update(payment.cents.to_le_bytes());
        digest.update([payment.fraud.map_or(0, Scenario::number)]);
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "f6e7919e7a27b3bcaab441263d72107a9e8200136f655fc207451953e84ef4eb");
}

#[test]
fn an_error_ends_the_simulation() {
    let simulator = simulator(small());
    let mut seen = 0;
    let result = simulator.try_for_each_day(NonZeroUsize::new(3).unwrap(), |_| {
        seen += 1;
        if seen == 5 { Err("enough") } else { Ok(()) }
    });
    assert_eq!((result, seen), (Err("enough"), 5));
}

#[test]
fn days_are_in_order_of_time_then_customer() {
    let simulator = simulator(small());
    for day in 0..50 {
        let payments = simulator.day(day);
        assert!(payments.iter().all(|payment| payment.day == day && (1..86_400).contains(&payment.second)));
        assert!(payments.is_sorted_by_key(|payment| (payment.second, payment.customer)));
    }
}

#[test]
fn customers_pay_at_exactly_the_terminals_nearer_than_the_radius() {
    for (radius, terminals) in [(5.0, 600), (0.7, 3_000), (40.0, 30), (200.0, 5)] {
        let settings = Settings { customers: 200, terminals, days: 40, radius, ..small() };
        let simulator = simulator(settings);
        let [customers, places] = simulator.population.places();
        let near = |customer: u32, terminal: u32| {
            let ((x, y), (u, v)) = (customers[customer as usize], places[terminal as usize]);
            (x - u).hypot(y - v) < radius
        };
        let mut paying = HashSet::new();
        for payment in simulator.payments() {
            assert!(near(payment.customer, payment.terminal), "radius {radius}: {payment:?}");
            paying.insert(payment.customer);
        }
        for customer in 0..200 {
            let any = (0..terminals).any(|terminal| near(customer, terminal));
            // With a mean of 0.2 a day, 40 days without a payment have probability e^-8.
            let certain = simulator.population.mean_payments(customer) > 0.2;
            assert!(paying.contains(&customer) == any || (any && !certain), "radius {radius}, customer {customer}");
        }
    }
}

#[test]
fn every_near_terminal_is_as_likely_as_any_other() {
    let settings = Settings::default();
    let mut random = settings.stream(Stream::Terminals);
    let plane = Plane::new(2_000, 6.0, &mut random);
    for point in [(50.0, 50.0), (1.0, 99.5), (33.3, 0.0)] {
        let near = |&(x, y): &(f64, f64)| (x - point.0).hypot(y - point.1) < 6.0;
        let expected: HashSet<u32> =
            plane.places().iter().enumerate().filter(|(_, place)| near(place)).map(|(index, _)| index as u32).collect();
        let mut nearby = Nearby::default();
        plane.near(point, &mut nearby);
        assert!(plane.any(point, &nearby));
        let mut counts = HashMap::new();
        let draws = 400 * expected.len();
        for _ in 0..draws {
            *counts.entry(plane.draw(point, &nearby, &mut random)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.keys().copied().collect::<HashSet<_>>(), expected);
        // 400 each with a standard deviation of 20.
        assert!(counts.values().all(|count| (290..510).contains(count)), "{counts:?}");
    }
}

#[test]
fn the_first_scenario_is_every_amount_above_220() {
    let simulator = simulator(Settings { customers: 3_000, terminals: 6_000, days: 30, ..small() });
    let mut above = 0;
    for payment in simulator.payments() {
        match payment.fraud {
            None => assert!(payment.cents <= 22_000, "{payment:?}"),
            AMOUNT => {
                assert!(payment.cents > 22_000, "{payment:?}");
                above += 1;
            }
            TERMINAL | CUSTOMER => {}
        }
    }
    assert!(above > 20, "{above}");
}

#[test]
fn the_second_scenario_is_every_payment_at_two_new_terminals_a_day_for_28_days() {
    let simulator = simulator(small());
    let fraud = Fraud::of(&simulator.population);
    let mut drawn = Vec::new();
    for day in 0..50 {
        let compromised = fraud.compromised_terminals(day);
        // On the last day none are drawn, so that 27 draws count.
        let draws = if day == 49 { 27 } else { 28.min(day + 1) };
        assert_eq!(compromised.len(), 2 * draws as usize, "day {day}");
        drawn.push(compromised.iter().copied().collect::<HashSet<_>>());
        for payment in simulator.day(day) {
            let here = compromised.contains(&payment.terminal);
            assert_eq!(payment.fraud == TERMINAL, here && payment.fraud != CUSTOMER, "{payment:?}");
            assert!(!here || payment.fraud.is_some());
        }
    }
    let kept = |day: usize| drawn[day].intersection(&drawn[day + 27]).count();
    assert!(kept(0) >= 2, "the draws of day 0 still count on day 27");
    assert!(drawn[0].intersection(&drawn[28]).count() < 2, "and no longer on day 28");
}

#[test]
fn the_third_scenario_is_a_third_of_the_payments_of_three_new_customers_a_day_for_14_days() {
    let simulator = simulator(Settings { customers: 2_000, terminals: 4_000, ..small() });
    let fraud = Fraud::of(&simulator.population);
    let drawn: Vec<Vec<u32>> = (0..49).map(|day| fraud.compromised_customers(day)).collect();
    let mut times = HashMap::new();
    drawn.iter().flatten().for_each(|customer| *times.entry(*customer).or_insert(0) += 1);
    let days = by_day(&simulator, 2);
    let mut exact = 0;
    for (first, customers) in drawn.iter().enumerate() {
        assert_eq!(customers.iter().collect::<HashSet<_>>().len(), 3);
        // Customers that were drawn once only: nothing else changes their payments.
        if customers.iter().all(|customer| times[customer] == 1) {
            let window: Vec<_> = days[first..50.min(first + 14)].iter().flatten().collect();
            let theirs: Vec<_> = window.iter().filter(|payment| customers.contains(&payment.customer)).collect();
            let frauds = theirs.iter().filter(|payment| payment.fraud == CUSTOMER).count();
            assert_eq!(frauds, theirs.len() / 3, "drawn on day {first}");
            exact += 1;
        }
    }
    assert!(exact > 20, "{exact} draws could be checked");
    for (day, payments) in (0..).zip(&days) {
        let mut honest = honest(&simulator, day);
        honest.sort_by_key(|payment| payment.second);
        assert_eq!(honest.len(), payments.len());
        for (before, after) in honest.iter().zip(payments) {
            assert_eq!((before.customer, before.terminal), (after.customer, after.terminal));
            let factor = after.cents.checked_div(before.cents).unwrap_or(1);
            assert_eq!(after.cents, before.cents * factor);
            match after.fraud {
                CUSTOMER => {
                    assert!([5, 25, 125].contains(&factor) || before.cents == 0, "{before:?} {after:?}");
                    let since = day.saturating_sub(13) as usize;
                    let window = &drawn[since..49.min(day as usize + 1)];
                    assert!(window.iter().any(|customers| customers.contains(&after.customer)));
                }
                _ => assert_eq!(before.cents, after.cents),
            }
        }
    }
}

/// The handbook's data: 9,585 payments a day with a mean of 53.63 and a deviation of 42.33; 0.056 %, 0.52 % and
/// 0.26 % fraud by the three scenarios, 0.84 % in all.
#[test]
fn it_looks_like_the_handbooks_data() {
    let simulator = simulator(Settings::default());
    let days = [60, 80, 100, 120, 140, 160];
    let payments: Vec<_> = days.into_iter().flat_map(|day| simulator.day(day)).collect();
    let count = payments.len() as f64;
    let a_day = count / days.len() as f64;
    assert!((9_300.0..9_900.0).contains(&a_day), "{a_day}");
    let mean = payments.iter().map(Payment::amount).sum::<f64>() / count;
    let variance = payments.iter().map(|payment| (payment.amount() - mean).powi(2)).sum::<f64>() / count;
    assert!((52.0..56.0).contains(&mean), "{mean}");
    assert!((40.0..45.0).contains(&variance.sqrt()), "{}", variance.sqrt());
    let share = |scenario| payments.iter().filter(|payment| payment.fraud == scenario).count() as f64 / count * 100.0;
    assert!((0.03..0.09).contains(&share(AMOUNT)), "{}", share(AMOUNT));
    assert!((0.40..0.70).contains(&share(TERMINAL)), "{}", share(TERMINAL));
    assert!((0.20..0.36).contains(&share(CUSTOMER)), "{}", share(CUSTOMER));
    assert!((99.0..99.3).contains(&share(None)), "{}", share(None));
    let second = payments.iter().map(|payment| f64::from(payment.second)).sum::<f64>() / count;
    assert!((42_800.0..43_600.0).contains(&second), "{second}");
}

#[test]
fn a_customers_payments_follow_its_own_mean_and_rate() {
    let settings = Settings { customers: 40, terminals: 10_000, days: 1_500, ..small() };
    let simulator = simulator(settings);
    for customer in 0..40 {
        let (mut count, mut sum) = (0_u32, 0);
        for day in 0..1_500 {
            simulator.population.pay(customer, day, |payment| {
                count += 1;
                sum += payment.cents;
            });
        }
        // 96.9 % of N(43200, 20000) lie within the day.
        let expected = simulator.population.mean_payments(customer) * 1_500.0 * 0.969_2;
        let off = (f64::from(count) - expected).abs();
        assert!(off < 5.0 * expected.sqrt() + 1.0, "customer {customer}: {count} payments, expected {expected}");
        if count > 400 {
            let mean = sum as f64 / f64::from(count) / 100.0;
            // Redrawing the 2.3 % below zero raises the mean by 3.1 %.
            let wanted = simulator.population.mean_amount(customer) * 1.031;
            let error = wanted * 0.5 / f64::from(count).sqrt();
            assert!((mean - wanted).abs() < 5.0 * error, "customer {customer}: mean {mean}, expected {wanted}");
        }
    }
}

#[test]
fn drift_changes_nothing_before_its_day() {
    let drift = Drift { day: 20, amount_factor: 2.0, fraud_factor: 3 };
    let plain = simulator(small());
    let drifting = simulator(Settings { drift: Some(drift), ..small() });
    for day in 0..20 {
        // Fraud drawn on day 20 and later never reaches back.
        assert_eq!(plain.day(day), drifting.day(day));
    }
    for day in 20..50 {
        let (before, after) = (honest(&plain, day), honest(&drifting, day));
        let sum = |payments: &[Payment]| payments.iter().map(|payment| payment.cents).sum::<u64>() as f64;
        assert_eq!(before.len(), after.len());
        assert!((sum(&after) / sum(&before) - 2.0).abs() < 1e-3);
        for payment in drifting.day(day) {
            assert!(payment.fraud.is_some() || payment.cents <= 44_000);
            assert!(payment.fraud != AMOUNT || payment.cents > 44_000);
        }
    }
    let fraud = Fraud::of(&drifting.population);
    assert_eq!(fraud.compromised_terminals(20).len(), 2 * 20 + 6);
    assert_eq!(fraud.compromised_customers(20).len(), 9);
}

#[test]
fn tiny_populations_work() {
    for (customers, terminals, days) in [(1, 1, 1), (1, 1, 40), (2, 1, 40), (3, 500, 2)] {
        let settings = Settings { customers, terminals, days, radius: 200.0, ..small() };
        let simulator = simulator(settings);
        let payments: Vec<_> = simulator.payments().collect();
        // Of one or two terminals all are drawn, except on a single day, which is also the last.
        let at_terminals = payments.iter().filter(|payment| payment.fraud == TERMINAL).count();
        assert!(days > 1 || at_terminals == 0);
    }
}

#[test]
fn settings_that_make_no_simulation_are_refused() {
    let refused = |settings: Settings| Simulator::new(settings).unwrap_err();
    assert_eq!(refused(Settings { customers: 0, ..small() }), SettingsError::Zero { option: "customers" });
    assert_eq!(refused(Settings { terminals: 0, ..small() }), SettingsError::Zero { option: "terminals" });
    assert_eq!(refused(Settings { days: 0, ..small() }), SettingsError::Zero { option: "days" });
    for radius in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(refused(Settings { radius, ..small() }), SettingsError::Radius { .. }), "{radius}");
    }
    assert!(matches!(refused(Settings { days: u32::MAX, ..small() }), SettingsError::Dates { .. }));
    assert!(matches!(refused(Settings { start: i64::MIN, ..small() }), SettingsError::Dates { .. }));
    assert!(matches!(refused(Settings { start: i64::MAX, ..small() }), SettingsError::Dates { .. }));
    let drift = |day, amount_factor, fraud_factor| {
        refused(Settings { drift: Some(Drift { day, amount_factor, fraud_factor }), ..small() })
    };
    assert_eq!(drift(50, 2.0, 1), SettingsError::DriftDay { day: 50, days: 50 });
    assert_eq!(drift(1, 1.0, 1), SettingsError::IdleDrift);
    assert_eq!(drift(1, 1.0, 0), SettingsError::DriftFactor { factor: "fraud", value: 0.0 });
    assert!(matches!(drift(1, f64::NAN, 1), SettingsError::DriftFactor { factor: "amount", .. }));
    assert!(matches!(drift(1, 101.0, 1), SettingsError::DriftFactor { factor: "amount", .. }));
}
