//! Tables in files: Parquet, CSV and JSON lines.

pub mod write;
