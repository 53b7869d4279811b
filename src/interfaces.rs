//! The network interfaces of this machine: what goes to everybody goes out of each of them.

use std::net::{IpAddr, Ipv4Addr};

use if_addrs::IfAddr;
use ipnet::IpNet;

/// Most addresses of either kind; the kernel lets a socket join twenty groups.
const MAX: usize = 16;

/// Interfaces that are there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Their IPv4 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// The numbers of those with IPv6.
    pub v6: Vec<u32>,
    /// The networks they are in.
    pub networks: Vec<IpNet>,
}

impl Interfaces {
    /// Looks which there are; none, if the system does not tell.
    pub fn list() -> Self {
        let mut found = Self::default();
        let told = if_addrs::get_if_addrs().inspect_err(|error| {
            log::debug!("the system does not tell its network interfaces: {error}");
        });
        for interface in told.unwrap_or_default() {
            let network = match &interface.addr {
                IfAddr::V4(v4) => IpNet::with_netmask(v4.ip.into(), v4.netmask.into()),
                IfAddr::V6(v6) => IpNet::with_netmask(v6.ip.into(), v6.netmask.into()),
            };
            network.into_iter().for_each(|network| add(&mut found.networks, network));
            match interface.ip() {
                IpAddr::V4(address) => add(&mut found.v4, address),
                IpAddr::V6(_) => interface.index.into_iter().for_each(|n| add(&mut found.v6, n)),
            }
        }
        found
    }

    /// Whether an address is in one of their networks.
    pub fn are_near(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The same without those through which a machine talks to itself.
    pub fn outward(mut self) -> Self {
        self.v4.retain(|address| !address.is_loopback());
        // Linux numbers the loopback first.
        self.v6.retain(|index| *index != 1);
        self
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, one: T) {
    if list.len() < MAX && !list.contains(&one) {
        list.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there_and_leads_nowhere() {
        let all = Interfaces::list();
        assert!(all.v4.contains(&Ipv4Addr::LOCALHOST), "{all:?}");
        assert!(all.are_near([127, 1, 2, 3].into()));
        assert!(!all.are_near([8, 8, 8, 8].into()));
        assert!(!all.outward().v4.contains(&Ipv4Addr::LOCALHOST));
    }
}
