//! WS-Management towards Intel AMT firmware: SOAP over HTTP with digest authentication.
//!
//! `xml`, `soap` and `answer` are the documents, `http` the bytes around them, `client` the machine
//! that says them without a socket, and [`link`] its connection: one for each device, one request
//! at a time. Source: Intel AMT SDK, DSP0226; behaviour of firmware from 11 to 16.

pub mod answer;
pub mod client;
pub mod http;
pub mod link;
pub mod soap;
pub mod xml;

pub use answer::{Fault, Refused};
pub use link::{Failure, Link};
pub use soap::{Operation, Verb, reference, resource};
pub use xml::Element;
