//! The floor as a program; see `floor.rs`. It takes the part of the playground's command line that the suite uses.
#![allow(
    clippy::print_stdout,
    reason = "the address on standard output is how the suite finds it"
)]

use bennu_bench::floor::Floor;
use bennu_bench::process::raise_descriptor_limit;
use clap::Parser;
use std::error::Error;
use std::net::SocketAddrV4;

/// The least a server can do and still be driven by bennu-load.
#[derive(Debug, Parser)]
#[command(name = "bennu-floor")]
struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddrV4,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    raise_descriptor_limit()?;
    let floor = Floor::bind(options.listen)?;
    println!("listening on http://{}", floor.address());
    floor.serve()?;
    Ok(())
}
