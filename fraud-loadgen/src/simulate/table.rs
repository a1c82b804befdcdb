use std::path::Path;

use fraud_core::files::write::{Column, FileError, TableWriter, Values, Written};

use crate::simulator::{Payment, Settings};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// The handbook's transaction table, names in lower case.
pub(super) struct Table {
    writer: TableWriter,
    start: i64,
    id: Vec<i64>,
    datetime: Vec<i64>,
    customer: Vec<i64>,
    terminal: Vec<i64>,
    amount: Vec<f64>,
    seconds: Vec<i64>,
    days: Vec<i64>,
    fraud: Vec<i64>,
    scenario: Vec<i64>,
}

impl Table {
    pub(super) fn create(path: &Path, settings: &Settings) -> Result<Self, FileError> {
        let columns = [
            Column::integer("transaction_id"),
            Column::timestamp("tx_datetime"),
            Column::integer("customer_id"),
            Column::integer("terminal_id"),
            Column::float("tx_amount"),
            Column::integer("tx_time_seconds"),
            Column::integer("tx_time_days"),
            Column::integer("tx_fraud"),
            Column::integer("tx_fraud_scenario"),
        ];
        Ok(Self {
            writer: TableWriter::create(path, &columns)?,
            start: settings.start,
            id: Vec::new(),
            datetime: Vec::new(),
            customer: Vec::new(),
            terminal: Vec::new(),
            amount: Vec::new(),
            seconds: Vec::new(),
            days: Vec::new(),
            fraud: Vec::new(),
            scenario: Vec::new(),
        })
    }

    pub(super) fn write(&mut self, payments: &[Payment]) -> Result<(), FileError> {
        let first = self.writer.rows().cast_signed();
        refill(&mut self.id, (first..).take(payments.len()));
        refill(
            &mut self.datetime,
            payments.iter().map(|payment| (self.start + payment.time_seconds()) * MICROS_PER_SECOND),
        );
        refill(&mut self.customer, payments.iter().map(|payment| payment.customer.into()));
        refill(&mut self.terminal, payments.iter().map(|payment| payment.terminal.into()));
        refill(&mut self.amount, payments.iter().map(Payment::amount));
        refill(&mut self.seconds, payments.iter().map(Payment::time_seconds));
        refill(&mut self.days, payments.iter().map(|payment| payment.day.into()));
        refill(&mut self.fraud, payments.iter().map(|payment| payment.fraud.is_some().into()));
        refill(
            &mut self.scenario,
            payments.iter().map(|payment| payment.fraud.map_or(0, |scenario| scenario.number().into())),
        );
        self.writer.write(&[
            Values::Integers(&self.id),
            Values::Timestamps(&self.datetime),
            Values::Integers(&self.customer),
            Values::Integers(&self.terminal),
            Values::Floats(&self.amount),
            Values::Integers(&self.seconds),
            Values::Integers(&self.days),
            Values::Integers(&self.fraud),
            Values::Integers(&self.scenario),
        ])
    }

    pub(super) fn rows(&self) -> u64 {
        self.writer.rows()
    }

    pub(super) fn finish(self) -> Result<Written, FileError> {
        self.writer.finish()
    }
}

fn refill<T>(column: &mut Vec<T>, values: impl Iterator<Item = T>) {
    column.clear();
    column.extend(values);
}
