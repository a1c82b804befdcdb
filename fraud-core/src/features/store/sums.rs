//! What a range of a key's transactions adds up to.

/// Which sums are wanted; the count and the latest second always are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub sum: bool,
    pub squares: bool,
    pub extremes: bool,
}

impl Wanted {
    pub const ALL: Self = Self { sum: true, squares: true, extremes: true };
}

/// Exact sums over transactions. Amounts in 1/10,000 of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub count: u64,
    pub sum: u128,
    pub squares: u128,
    /// `u64::MAX` of none.
    pub min: u64,
    pub max: u64,
    /// Second of the latest one; 0 of none.
    pub latest: u32,
}

impl Sums {
    pub const NONE: Self = Self { count: 0, sum: 0, squares: 0, min: u64::MAX, max: 0, latest: 0 };

    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.latest = self.latest.max(other.latest);
    }

    pub fn add_one(&mut self, time: u32, amount: u64) {
        self.count += 1;
        self.sum += u128::from(amount);
        self.squares += square(amount);
        self.min = self.min.min(amount);
        self.max = self.max.max(amount);
        self.latest = self.latest.max(time);
    }

    /// Adds cells that are sorted by time.
    pub fn add_cells<C: Cell>(&mut self, cells: &[C], wanted: Wanted) {
        let Some(last) = cells.last() else { return };
        self.latest = self.latest.max(last.time());
        if C::SINGLE {
            self.count += cells.len() as u64;
            if wanted.sum {
                // Up to 256 cells of at most 10¹³ each.
                self.sum += u128::from(cells.iter().map(C::amount).sum::<u64>());
            }
            if wanted.squares {
                self.squares += cells.iter().map(|cell| square(cell.amount())).sum::<u128>();
            }
            if wanted.extremes {
                for cell in cells {
                    self.min = self.min.min(cell.amount());
                    self.max = self.max.max(cell.amount());
                }
            }
        } else {
            for cell in cells {
                cell.add_to(self);
            }
        }
    }
}

fn square(amount: u64) -> u128 {
    u128::from(amount) * u128::from(amount)
}

/// A place in time of a series.
pub(crate) trait Cell: Copy {
    /// Whether every cell is one transaction.
    const SINGLE: bool;
    /// Second, counted from the store's base.
    fn time(&self) -> u32;
    /// The amount of a single transaction.
    fn amount(&self) -> u64;
    /// Adds what it holds.
    fn add_to(&self, sums: &mut Sums);
    /// Takes a cell of the same time into this one, where cells do that.
    fn absorb(&mut self, other: &Self) -> bool;
}

/// One transaction of at most 429,496.7295 units: nearly all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrow {
    pub time: u32,
    pub amount: u32,
}

/// One transaction of any amount, in 12 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide {
    time: u32,
    low: u32,
    high: u32,
}

impl Wide {
    #[allow(clippy::cast_possible_truncation)] // The halves of 64 bits.
    pub fn new(time: u32, amount: u64) -> Self {
        Self { time, low: amount as u32, high: (amount >> 32) as u32 }
    }
}

/// The transactions of one minute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Minute {
    /// Its first second.
    pub start: u32,
    pub sums: Sums,
}

impl Cell for Narrow {
    const SINGLE: bool = true;

    fn time(&self) -> u32 {
        self.time
    }

    fn amount(&self) -> u64 {
        u64::from(self.amount)
    }

    fn add_to(&self, sums: &mut Sums) {
        sums.add_one(self.time, self.amount());
    }

    fn absorb(&mut self, _: &Self) -> bool {
        false
    }
}

impl Cell for Wide {
    const SINGLE: bool = true;

    fn time(&self) -> u32 {
        self.time
    }

    fn amount(&self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    fn add_to(&self, sums: &mut Sums) {
        sums.add_one(self.time, self.amount());
    }

    fn absorb(&mut self, _: &Self) -> bool {
        false
    }
}

impl Cell for Minute {
    const SINGLE: bool = false;

    fn time(&self) -> u32 {
        self.start
    }

    fn amount(&self) -> u64 {
        0
    }

    fn add_to(&self, sums: &mut Sums) {
        sums.add(&self.sums);
    }

    fn absorb(&mut self, other: &Self) -> bool {
        self.sums.add(&other.sums);
        true
    }
}
