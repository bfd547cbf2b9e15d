//! Queries on a finished run, and the first configuration of a new one.

pub mod answer;
pub mod audits;
pub mod export;
pub mod init;
pub mod review;
pub mod similar;
pub mod subject;
pub mod summary;
pub mod unit;
