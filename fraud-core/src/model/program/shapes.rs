//! Which axis of a tensor counts the rows, and what of it belongs to one row.

use tract_onnx::tract_hir::internal::*;

/// A dimension for so many rows.
pub(in crate::model) fn at(dim: &TDim, rows: i64) -> Option<i64> {
    let symbols: Vec<Symbol> = dim.symbols().into_iter().collect();
    let mut dim = dim.clone();
    for symbol in symbols {
        dim = dim.substitute(&symbol, &rows.to_dim()).ok()?;
    }
    dim.to_i64().ok()
}

/// How many numbers of a row stand side by side in the tensor; `None` where a row's numbers are not together. `single`: the
/// graph is typed for one row, and otherwise for any number.
pub(in crate::model) fn row_width(shape: &ShapeFact, single: bool) -> Option<usize> {
    let volume = shape.volume();
    let (one, two) = (at(&volume, 1)?, at(&volume, 2)?);
    // Before the rows only axes of length 1 may stand, or the numbers of a row are not side by side.
    let leading = shape.iter().take_while(|dim| dim.symbols().is_empty()).all(|dim| at(dim, 1) == Some(1));
    if one <= 0 || !(single || two == 2 * one && leading) {
        return None;
    }
    usize::try_from(one).ok()
}

/// A tensor of rows: which axis counts them, and the dimensions behind it.
pub(super) struct Layout {
    pub axis: usize,
    pub inner: Vec<usize>,
}

impl Layout {
    pub(super) fn of(shape: &ShapeFact, single: bool) -> Option<Self> {
        let axis = if single { 0 } else { shape.iter().position(|dim| !dim.symbols().is_empty())? };
        let rows = shape.get(axis)?;
        let counts = if single {
            at(rows, 1) == Some(1)
        } else {
            at(rows, 1) == Some(1) && at(rows, 2) == Some(2) && shape.iter().take(axis).all(|dim| at(dim, 1) == Some(1))
        };
        let inner = shape.iter().skip(axis + 1).map(|dim| dim.to_usize().ok()).collect::<Option<Vec<_>>>()?;
        counts.then_some(Self { axis, inner })
    }

    /// Numbers per row.
    pub(super) fn width(&self) -> usize {
        self.inner.iter().product()
    }

    /// How many numbers some axes span, where these stand side by side to the end of the row.
    pub(super) fn group(&self, axes: &[usize]) -> Option<usize> {
        let places = axes.iter().map(|axis| axis.checked_sub(self.axis + 1)).collect::<Option<Vec<_>>>()?;
        let long = |place: &usize| self.inner.get(*place).is_some_and(|dim| *dim != 1);
        let first = places.iter().copied().filter(long).min().unwrap_or(self.inner.len());
        let together = (first..self.inner.len()).all(|place| !long(&place) || places.contains(&place));
        together.then(|| self.inner[first..].iter().product())
    }

    /// How many numbers one step along an axis is, where nothing but axes of length 1 stands between it and the rows.
    pub(super) fn step(&self, axis: usize) -> Option<usize> {
        let place = axis.checked_sub(self.axis + 1).filter(|place| *place < self.inner.len())?;
        let first = self.inner[..place].iter().all(|dim| *dim == 1);
        first.then(|| self.inner[place + 1..].iter().product())
    }

    /// A constant of as many axes, as one row of this layout.
    pub(super) fn constant(&self, tensor: &Tensor) -> Option<Vec<f32>> {
        let before = self.axis + 1;
        if tensor.rank() != before + self.inner.len() || tensor.shape()[..before].iter().any(|dim| *dim != 1) {
            return None;
        }
        let shape: Vec<usize> = std::iter::repeat_n(1, before).chain(self.inner.iter().copied()).collect();
        let whole = tensor.broadcast_to_shape(&shape).ok()?;
        numbers(&whole)
    }
}

/// The numbers of a constant of f32.
pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f32>> {
    if tensor.datum_type() != f32::datum_type() {
        return None;
    }
    Some(tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
}
