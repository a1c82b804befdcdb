//! Evaluators behind a C interface, loaded at run time: LightGBM itself, and trees that lleaves compiled.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::null_mut;

use anyhow::ensure;
use libloading::Library;

use super::Run;

type CreateFromFile = unsafe extern "C" fn(*const c_char, *mut c_int, *mut *mut c_void) -> c_int;
type FastInit =
    unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, c_int, i32, *const c_char, *mut *mut c_void) -> c_int;
type FastRow = unsafe extern "C" fn(*mut c_void, *const c_void, *mut i64, *mut f64) -> c_int;
type Rows = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    c_int,
    i32,
    i32,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_char,
    *mut i64,
    *mut f64,
) -> c_int;

/// LightGBM's numbers for f32 input and for probabilities.
const FLOAT32: c_int = 0;
const NORMAL: c_int = 0;

pub fn lightgbm(library: &Path, model: &Path, width: usize) -> anyhow::Result<Run> {
    // SAFETY: the library is LightGBM's, by the command line; its initialisers have no requirements.
    let library = unsafe { Library::new(library)? };
    let file = CString::new(model.to_string_lossy().as_bytes())?;
    let one_thread = CString::new("num_threads=1")?;
    let (mut booster, mut fast, mut iterations) = (null_mut(), null_mut(), 0);
    // SAFETY: the signatures are those of LightGBM's c_api.h, version 4. The functions outlive their use: the library is
    // moved into the closure below and never closed before it. Pointers are to live values of the right types.
    let (row, rows) = unsafe {
        let create = library.get::<CreateFromFile>(b"LGBM_BoosterCreateFromModelfile\0")?;
        ensure!(create(file.as_ptr(), &mut iterations, &mut booster) == 0, "LightGBM refuses the model");
        let init = library.get::<FastInit>(b"LGBM_BoosterPredictForMatSingleRowFastInit\0")?;
        let (columns, settings) = (i32::try_from(width)?, one_thread.as_ptr());
        ensure!(init(booster, NORMAL, 0, -1, FLOAT32, columns, settings, &mut fast) == 0, "no fast configuration");
        (
            *library.get::<FastRow>(b"LGBM_BoosterPredictForMatSingleRowFast\0")?,
            *library.get::<Rows>(b"LGBM_BoosterPredictForMat\0")?,
        )
    };
    let mut results = vec![0f64; 256];
    Ok(Box::new(move |input, first, out| {
        let _library = &library;
        let x = &input.singles[first * width..][..out.len() * width];
        let mut length = 0;
        ensure!(out.len() <= results.len(), "at most 256 rows a call");
        // SAFETY: as above; `x` holds out.len() rows of `width` floats, `results` a place for each.
        let status = unsafe {
            if out.len() == 1 {
                row(fast, x.as_ptr().cast(), &mut length, results.as_mut_ptr())
            } else {
                let (n, columns, settings) = (out.len() as i32, width as i32, one_thread.as_ptr());
                let (data, to) = (x.as_ptr().cast(), results.as_mut_ptr());
                rows(booster, data, FLOAT32, n, columns, 1, NORMAL, 0, -1, settings, &mut length, to)
            }
        };
        ensure!(status == 0, "LightGBM failed");
        for (out, result) in out.iter_mut().zip(&results) {
            *out = *result as f32;
        }
        Ok(())
    }))
}

type Root = unsafe extern "C" fn(*const f64, *mut f64, i32, i32);

pub fn lleaves(library: &Path) -> anyhow::Result<Run> {
    // SAFETY: the library was linked from lleaves' output by peers/models.py; it has no initialisers.
    let library = unsafe { Library::new(library)? };
    // SAFETY: the signature is that of the function lleaves generates; the library lives as long as the closure.
    let root = unsafe { *library.get::<Root>(b"forest_root\0")? };
    let mut results = vec![0f64; 256];
    Ok(Box::new(move |input, first, out| {
        let _library = &library;
        let x = &input.doubles[first * input.width..][..out.len() * input.width];
        ensure!(out.len() <= results.len(), "at most 256 rows a call");
        // SAFETY: `x` holds out.len() rows, `results` a place for each, and rows 0..out.len() are asked for.
        unsafe { root(x.as_ptr(), results.as_mut_ptr(), 0, out.len() as i32) };
        for (out, result) in out.iter_mut().zip(&results) {
            *out = *result as f32;
        }
        Ok(())
    }))
}
