use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Side of the plane.
pub(super) const SIDE: f64 = 100.0;
/// Cells along a radius: more of them leave fewer terminals outside of it to be drawn in vain.
const CELLS_PER_RADIUS: f64 = 4.0;
/// Cells along a side, at most: a row of cells fits its number.
const MAX_CELLS: usize = 1_024;

/// The terminals by cell of a square grid, row by row, so that neighbours in a row are neighbours in memory.
#[derive(Debug)]
pub(super) struct Plane {
    cells: usize,
    radius: f64,
    /// Where each cell begins in `sites`, and the end.
    starts: Vec<u32>,
    sites: Vec<Site>,
}

#[derive(Debug, Clone, Copy)]
struct Site {
    x: f64,
    y: f64,
    terminal: u32,
}

/// Places in memory that hold every terminal near a point, and some beyond: a span for each row of cells.
#[derive(Debug, Default)]
pub(super) struct Nearby {
    spans: Vec<(u32, u32)>,
    total: u32,
}

impl Plane {
    /// Places `terminals` terminals uniformly.
    pub(super) fn new(terminals: u32, radius: f64, random: &mut ChaCha8Rng) -> Self {
        let most = (f64::from(terminals).sqrt().ceil() as usize).clamp(1, MAX_CELLS);
        let cells = ((SIDE * CELLS_PER_RADIUS / radius).ceil() as usize).clamp(1, most);
        let mut plane = Self { cells, radius, starts: vec![0; cells * cells + 1], sites: Vec::new() };
        let site = |terminal| Site { x: random.random::<f64>() * SIDE, y: random.random::<f64>() * SIDE, terminal };
        plane.sites = (0..terminals).map(site).collect();
        let cell = |site: &Site| plane_cell(cells, site.y) * cells + plane_cell(cells, site.x);
        plane.sites.sort_by_key(cell);
        for site in &plane.sites {
            plane.starts[cell(site) + 1] += 1;
        }
        for index in 1..plane.starts.len() {
            plane.starts[index] += plane.starts[index - 1];
        }
        plane
    }

    /// Fills `nearby` for a point.
    pub(super) fn near(&self, (x, y): (f64, f64), nearby: &mut Nearby) {
        nearby.spans.clear();
        nearby.total = 0;
        let size = SIDE / self.cells as f64;
        for row in plane_cell(self.cells, y - self.radius)..=plane_cell(self.cells, y + self.radius) {
            // Within the row's stripe the circle is at most as wide as where the stripe comes nearest.
            let (bottom, top) = (row as f64 * size, (row + 1) as f64 * size);
            let away = (bottom - y).max(y - top).max(0.0);
            let half = (self.radius * self.radius - away * away).max(0.0).sqrt();
            let first = row * self.cells + plane_cell(self.cells, x - half);
            let last = row * self.cells + plane_cell(self.cells, x + half);
            let (start, end) = (self.starts[first], self.starts[last + 1]);
            if start < end {
                nearby.spans.push((start, end));
                nearby.total += end - start;
            }
        }
    }

    /// Whether a terminal lies nearer than the radius.
    pub(super) fn any(&self, point: (f64, f64), nearby: &Nearby) -> bool {
        nearby.spans.iter().any(|&(start, end)| (start..end).any(|index| self.within(point, index)))
    }

    /// One of the terminals nearer than the radius, each as likely as any other; there must be one ([`Plane::any`]).
    pub(super) fn draw(&self, point: (f64, f64), nearby: &Nearby, random: &mut ChaCha8Rng) -> u32 {
        loop {
            let mut index = random.random_range(0..nearby.total);
            for &(start, end) in &nearby.spans {
                if index < end - start {
                    if self.within(point, start + index) {
                        return self.sites[(start + index) as usize].terminal;
                    }
                    break;
                }
                index -= end - start;
            }
        }
    }

    fn within(&self, (x, y): (f64, f64), index: u32) -> bool {
        let site = &self.sites[index as usize];
        let (dx, dy) = (site.x - x, site.y - y);
        dx * dx + dy * dy < self.radius * self.radius
    }

    /// The place of each terminal, by its number.
    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<(f64, f64)> {
        let mut sites = self.sites.clone();
        sites.sort_by_key(|site| site.terminal);
        sites.iter().map(|site| (site.x, site.y)).collect()
    }
}

/// The row or column that a coordinate lies in; beyond the plane, the nearest one.
fn plane_cell(cells: usize, coordinate: f64) -> usize {
    // Below 0 the conversion gives 0.
    ((coordinate / SIDE * cells as f64) as usize).min(cells - 1)
}
