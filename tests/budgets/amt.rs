//! What a tunnel of Intel AMT may cost.

use std::io::{Read as _, Write as _};

use super::common::cira::{Device, Mood, Seen};
use super::peer::{Tls, tls_from, until_end};
use super::*;

/// Live heap per idle tunnel in bytes, TLS included. The promise is 14 KB in all; the allocator and
/// the device in the list take their share.
const PER_TUNNEL: i64 = 6 * 1024;
/// Allocations per tunnel of a device that is known, from TCP to its end.
const ALLOCATIONS: i64 = 400;
/// Password of the port.
pub(super) const PASSWORD: &str = "P@ssw0rd1";
/// Key of the group of the computers; the first 16 characters of its text are their user name.
pub(super) const GROUP: Key48 = Key48([0x41; 48]);
const HERE: [u8; 4] = [127, 0, 0, 1];

#[test]
fn an_amt_tunnel_costs_what_it_may_and_leaves_nothing_behind() {
    AGENTS_THREAD.set(true);
    let _turn = turn();
    let fleet = Fleet::start();
    // The records of the devices, and what every server has after a while.
    for _ in 0..2 {
        hang_up(call(fleet.mps));
    }
    let base = settled();
    let tunnels = call(fleet.mps);
    let idle = (settled() - base) / AGENTS as i64;
    hang_up(tunnels);
    let (before, allocated) = (settled(), ALLOCATED.load(Relaxed));
    for _ in 0..ROUNDS {
        hang_up(call(fleet.mps));
    }
    let (kept, grown) = (before - base, settled() - before);
    let each = (ALLOCATED.load(Relaxed) - allocated) / (ROUNDS * AGENTS as i64);
    println!(
        "{idle} bytes per idle tunnel; {each} allocations per tunnel; {kept} bytes kept, {grown} \
         more after {ROUNDS} rounds"
    );
    assert!(idle <= PER_TUNNEL, "{idle} bytes per idle tunnel");
    assert!(each <= ALLOCATIONS, "{each} allocations per tunnel");
    assert!(kept <= LEFT_OVER, "{kept} bytes kept");
    assert!(grown <= LEFT_OVER, "{grown} bytes leaked");
}

/// Connects computers until all of them have named their ports.
fn call(port: u16) -> Vec<Tls> {
    (0..AGENTS).map(|number| ready(port, number)).collect()
}

fn ready(port: u16, number: usize) -> Tls {
    let user = &GROUP.text()[..16];
    let uuid = format!("11111111-2222-3333-4444-{number:012x}");
    let mut device = Device::new(Mood::Firmware, &uuid, user, PASSWORD);
    let mut tls = tls_from(HERE, port);
    let mut buffer = [0; 4096];
    loop {
        while let Some(message) = device.poll_out() {
            tls.write_all(&message).expect("the server reads");
        }
        // Ports are named one after the other; the server asks for keep-alives after the last.
        if std::iter::from_fn(|| device.poll_seen()).any(|seen| matches!(seen, Seen::Options(_))) {
            return tls;
        }
        let count = tls.read(&mut buffer).expect("the server answers");
        assert!(count > 0, "the server ended the tunnel");
        device.receive(&buffer[..count]);
    }
}

fn hang_up(tunnels: Vec<Tls>) {
    for mut tls in tunnels {
        tls.write_all(&[1, 0, 0, 0, 11, 0, 0]).expect("the server reads");
        until_end(&mut tls);
    }
}
