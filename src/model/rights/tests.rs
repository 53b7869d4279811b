//! Every bit, every source of a right, and their combinations, against the rule written down a
//! second time in plain numbers (control-protocol §8).

use proptest::prelude::*;

use super::*;
use crate::model::{
    DomainId, Key48, LinkTarget, Millis, NodeId, PasswordHash, UserGroupId, UserId,
};

/// From where a right may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Device,
    Group,
    TeamToDevice,
    TeamToGroup,
    /// `manageAllDeviceGroups` of a full administrator.
    All,
}

const LINKS: [Source; 4] =
    [Source::Device, Source::Group, Source::TeamToDevice, Source::TeamToGroup];

fn device() -> Device {
    let group = GroupId::new(DomainId::default(), Key48([1; 48]));
    Device::new(NodeId::new(DomainId::default(), Key48([2; 48])), group, "vm", Millis(0))
}

fn user(name: &str) -> User {
    let id = UserId::new(DomainId::default(), name).unwrap();
    User::new(id, name, PasswordHash::None, Millis(0))
}

fn link(to: LinkTarget, bits: u32) -> Link {
    Link { to, rights: Rights::from_bits_retain(bits), notify: 0 }
}

/// What comes of these links, and of links of the same rights to other things.
fn computed(sources: &[(Source, u32)], removed: u32) -> u32 {
    let device = device();
    let mut user = user("bob");
    user.remove_rights = Rights::from_bits_retain(removed);
    let (mut team, mut manages_all) = (Vec::new(), false);
    for (source, bits) in sources {
        let (to_device, to_group) =
            (LinkTarget::Device(device.id.clone()), LinkTarget::Group(device.group.clone()));
        match source {
            Source::Device => user.links.push(link(to_device, *bits)),
            Source::Group => user.links.push(link(to_group, *bits)),
            Source::TeamToDevice => team.push(link(to_device, *bits)),
            Source::TeamToGroup => team.push(link(to_group, *bits)),
            Source::All => (manages_all, user.site) = (true, SiteRights::FULL),
        }
    }
    effective(&user, [team.as_slice()], manages_all, Subject::Device(&device)).bits()
}

/// The same in plain numbers.
fn by_the_book(sources: &[(Source, u32)], removed: u32) -> u32 {
    const ALL: u32 = 0xFFFF_FFFF;
    let is_full = sources.iter().any(|(source, bits)| *source == Source::All || *bits == ALL);
    let sum = sources.iter().fold(0, |sum, (_, bits)| sum | bits);
    let rights = match (is_full, sum) {
        (true, _) => ALL,
        // No single link is full, so restrictions stay restrictions.
        (false, ALL) => 0x003F_FFFF,
        (false, sum) => sum,
    };
    let given = |bits: &[u32]| bits.iter().filter(|bit| removed & **bit != 0).sum::<u32>();
    let taken = given(&[8, 16, 64, 32768, 131_072, 262_144]);
    let added = given(&[256, 512, 1024, 65536]);
    if rights == 0 || taken + added == 0 {
        return rights;
    }
    let list =
        1 + 2 + 4 + 8 + 32 + 64 + 128 + 16384 + 32768 + 131_072 + 262_144 + 524_288 + 1_048_576;
    let rights = if rights == ALL { list } else { rights };
    (rights | added) & !taken
}

#[test]
fn every_bit_arrives_from_every_source_and_no_other_does() {
    for bit in (0..32).map(|n| 1_u32 << n) {
        for source in LINKS {
            assert_eq!(computed(&[(source, bit)], 0), bit, "{source:?} {bit:#x}");
        }
    }
    assert_eq!(computed(&[], 0), 0);
    for source in LINKS {
        assert_eq!(computed(&[(source, u32::MAX)], 0), u32::MAX);
    }
    assert_eq!(computed(&[(Source::All, 0)], 0), u32::MAX);
}

#[test]
fn sources_add_up_and_removed_rights_are_taken_from_the_sum() {
    let patterns = [0, 1, 8, 8 + 256, 64 + 8192, 0x3F_FFFF, 0xFFFF_0000, 0x0000_FFFF, u32::MAX];
    let removals = [0, 1, 8, 16, 64, 256, 512, 1024, 32768, 65536, 131_072, 262_144, u32::MAX];
    let choices = || std::iter::once(None).chain(patterns.into_iter().map(Some));
    let mut seen = 0;
    for (a, b) in choices().flat_map(|a| choices().map(move |b| (a, b))) {
        for (c, d) in choices().flat_map(|c| choices().map(move |d| (c, d))) {
            let links = LINKS.into_iter().zip([a, b, c, d]);
            let mut sources: Vec<_> =
                links.filter_map(|(source, bits)| Some((source, bits?))).collect();
            // Every removal for few of the sums, few of them for every sum.
            let step = if sources.len() < 3 { 1 } else { 5 };
            for removed in removals.into_iter().skip(seen % step).step_by(step) {
                assert_eq!(
                    computed(&sources, removed),
                    by_the_book(&sources, removed),
                    "{sources:?} without {removed:#x}"
                );
                seen += 1;
            }
            sources.push((Source::All, 0));
            assert_eq!(computed(&sources, 8), by_the_book(&sources, 8), "{sources:?}");
        }
    }
    assert!(seen > 20_000);
}

#[test]
fn every_removable_right_can_be_removed_and_every_imposable_restriction_imposed() {
    for bit in (0..22).map(|n| 1_u32 << n) {
        let is_taken = [8, 16, 64, 32768, 131_072, 262_144].contains(&bit);
        let is_imposed = [256, 512, 1024, 65536].contains(&bit);
        let partial = computed(&[(Source::Group, 0x3F_FFFF)], bit);
        assert_eq!(partial & bit == 0, is_taken, "{bit:#x}");
        let full = Rights::from_bits_retain(computed(&[(Source::Group, u32::MAX)], bit));
        assert_eq!(full.is_full(), !is_taken && !is_imposed, "{bit:#x}");
        let right = Rights::from_bits_retain(bit);
        assert_eq!(full.restricted(right), is_imposed, "{bit:#x}");
        if is_taken {
            assert!(!full.allows(right), "{bit:#x}");
        }
    }
}

#[test]
fn a_restriction_restricts_unless_the_right_is_full() {
    for bit in [256, 512, 1024, 2048, 4096, 8192, 65536].map(Rights::from_bits_retain) {
        assert!(Rights::RESTRICTIONS.contains(bit));
        assert!((bit | Rights::REMOTE_CONTROL).restricted(bit));
        assert!(!Rights::FULL.restricted(bit));
        assert!(!Rights::REMOTE_CONTROL.restricted(bit));
    }
    assert_eq!(Rights::RESTRICTIONS.bits().count_ones(), 7);
}

#[test]
fn links_to_other_things_and_other_domains_give_nothing() {
    let device = device();
    let elsewhere = |n| Key48([n; 48]);
    let domain = DomainId::default;
    for to in [
        LinkTarget::Device(NodeId::new(domain(), elsewhere(3))),
        LinkTarget::Group(GroupId::new(domain(), elsewhere(3))),
        // Ids of another kind with the same bytes.
        LinkTarget::Device(NodeId::new(domain(), device.group.key)),
        LinkTarget::Group(GroupId::new(domain(), device.id.key)),
        LinkTarget::UserGroup(UserGroupId::new(domain(), device.group.key)),
        LinkTarget::Group(GroupId::new(DomainId::new("b").unwrap(), device.group.key)),
    ] {
        let mut user = user("bob");
        user.links.push(link(to.clone(), u32::MAX));
        let team = [link(to.clone(), u32::MAX)];
        let rights = effective(&user, [&team[..]], false, Subject::Device(&device));
        assert!(rights.is_empty(), "{to:?}");
    }
    let mut stranger = user("bob");
    stranger.id = UserId::new(DomainId::new("b").unwrap(), "bob").unwrap();
    stranger.site = SiteRights::FULL;
    stranger.links.push(link(LinkTarget::Device(device.id.clone()), u32::MAX));
    let rights = effective(&stranger, [], true, Subject::Device(&device));
    assert!(rights.is_empty(), "not in another domain, whatever the links say");
}

#[test]
fn a_right_on_a_device_says_nothing_about_its_group() {
    let device = device();
    let mut user = user("bob");
    user.links.push(link(LinkTarget::Device(device.id.clone()), u32::MAX));
    assert!(effective(&user, [], false, Subject::Group(&device.group)).is_empty());
    user.links.push(link(LinkTarget::Group(device.group.clone()), 1));
    assert_eq!(effective(&user, [], false, Subject::Group(&device.group)).bits(), 1);
}

#[test]
fn full_site_rights_alone_open_no_device() {
    let device = device();
    let mut admin = user("admin");
    admin.site = SiteRights::FULL;
    assert!(effective(&admin, [], false, Subject::Device(&device)).is_empty());
    assert!(effective(&admin, [], true, Subject::Device(&device)).is_full());
    // Listed, but not a full administrator.
    admin.site = SiteRights::FULL - SiteRights::BACKUP;
    assert!(effective(&admin, [], true, Subject::Device(&device)).is_empty());
}

#[test]
fn accounts_are_managed_within_domain_realm_and_rank() {
    use Authority::{Manage, None, See};
    let account = |site: SiteRights, realms: &[&str], domain: &str| {
        let id = UserId::new(DomainId::new(domain).unwrap(), "x").unwrap();
        let realms = realms.iter().map(|realm| (*realm).to_owned()).collect();
        User { site, realms, ..User::new(id, "x", PasswordHash::None, Millis(0)) }
    };
    let (full, manager, nobody) =
        (SiteRights::FULL, SiteRights::MANAGE_USERS, SiteRights::FULL - SiteRights::MANAGE_USERS);
    let plain = SiteRights::empty();
    for (who, realms, crosses, whom, theirs, domain, expected) in [
        (full, &[][..], false, full, &[][..], "", Manage),
        (manager, &[], false, plain, &[], "", Manage),
        (manager, &[], false, manager, &["n"], "", Manage),
        (manager, &[], false, full, &[], "", See),
        (nobody, &[], false, plain, &[], "", None),
        (nobody, &[], true, plain, &[], "b", None),
        (manager, &["n"], false, plain, &["n", "s"], "", Manage),
        (manager, &["n"], false, plain, &["s"], "", None),
        (manager, &["n"], false, plain, &[], "", None),
        (manager, &["n"], false, full, &["n"], "", See),
        (full, &["n"], false, plain, &["s"], "", None),
        (full, &[], false, plain, &[], "b", None),
        (full, &["n"], true, plain, &["s"], "b", Manage),
        (manager, &[], true, full, &[], "b", See),
    ] {
        let authority =
            over_account(&account(who, realms, ""), crosses, &account(whom, theirs, domain));
        assert_eq!(
            authority, expected,
            "{who:?} {realms:?} {crosses} {whom:?} {theirs:?} {domain}"
        );
    }
}

proptest! {
    #[test]
    fn any_sources_give_what_the_book_says(
        links in proptest::collection::vec((0..4_usize, any::<u32>()), 0..6),
        full in proptest::option::weighted(0.1, 0..4_usize),
        removed in any::<u32>(),
    ) {
        let mut sources: Vec<_> =
            links.into_iter().map(|(n, bits)| (LINKS[n], bits)).collect();
        sources.extend(full.map(|n| (LINKS[n], u32::MAX)));
        prop_assert_eq!(computed(&sources, removed), by_the_book(&sources, removed));
    }
}
