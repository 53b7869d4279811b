//! The page of a chat: who may open it, and what it needs to join.
//!
//! Source: relay-and-tunnels §14. The person at a device comes by the token of its link, an account
//! by its browser's session. Both get a proof for the relay that is for this chat alone and good
//! once within a minute, and ask for another when they come again.

use serde_json::{Value, json};

use crate::model::{DomainId, Rights, User};
use crate::relay::chat::Chat;
use crate::relay::visitor;

use super::Control;
use super::auth::{self, Login};

/// Minutes until the cookie of an account has to be used.
const COOKIE: u64 = 1;

/// What the page at the device gets for its token. `None` if that is not good (any more).
pub fn at_device(control: &Control, domain: &DomainId, id: &str, token: &str) -> Option<Value> {
    let chat = Chat::parse(domain, id)?;
    let answered = control.relay.answer_call(&chat, token)?;
    Some(json!({
        "who": shown(&answered.user),
        "device": answered.device.name,
        "title": title(control, domain),
        "query": query(&chat, "rauth", &answered.pass),
        "next": answered.next,
    }))
}

/// What the page of an account gets that is logged in. `None` if it is not its chat, there is
/// nobody to talk to, or without randomness.
pub fn of_account(control: &Control, login: &Login, id: &str) -> Option<Value> {
    let (hub, domain) = (&control.hub, &login.user.domain);
    let chat = Chat::parse(domain, id)?;
    let user = hub.store.user(&login.user)?;
    let (who, device) = match (&chat, chat.partner(&login.user)?) {
        (_, Some(partner)) => (shown(&*hub.store.user(partner)?).to_owned(), None),
        (Chat::AtDevice(node, _), None) => {
            let device = hub.store.device(node)?;
            let may = hub.rights_on_device(&user, &device).allows(Rights::CHAT);
            may.then(|| (device.name.clone(), Some(device.name.clone())))?
        }
        (Chat::Between(..), None) => return None,
    };
    let fields = json!({
        "userid": login.user.to_string(),
        "domainid": domain.as_str(),
        "ip": login.remote.ip().to_canonical().to_string(),
        "expire": COOKIE,
        visitor::CHAT: chat.to_string(),
        visitor::ONCE: visitor::once()?,
    });
    let Value::Object(mut fields) = fields else { return None };
    if let Some(token) = &login.token {
        fields.insert("t".into(), (**token).into());
    }
    let cookie = auth::seal(&control.keys.login, fields, hub.now())?;
    Some(json!({
        "who": who,
        "device": device,
        "title": title(control, domain),
        "query": query(&chat, "auth", &cookie),
    }))
}

/// What is asked of the relay.
fn query(chat: &Chat, name: &str, proof: &str) -> String {
    let proof: String = form_urlencoded::byte_serialize(proof.as_bytes()).collect();
    format!("id={}&{name}={proof}", chat.encoded())
}

fn shown(user: &User) -> &str {
    user.real_name.as_deref().unwrap_or(&user.name)
}

fn title(control: &Control, domain: &DomainId) -> Option<String> {
    control.hub.config().domain(domain).title.clone()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, ask, commands, heard, node_id, upgrade};
    use super::*;
    use crate::control::auth::{AtGate, Method};
    use crate::hub::AgentCommand;
    use crate::hub::testing::user_id;
    use crate::model::{LinkTarget, SiteRights};
    use crate::relay::visitor::Visitor as _;

    fn world() -> (World, std::rc::Rc<crate::hub::AgentLink>) {
        let world = World::new();
        let group = world.group(1, "lab");
        let agent = world.device(2, &group, "vm");
        for name in ["bob", "eve"] {
            world.user(name, SiteRights::empty());
        }
        world.link("bob", LinkTarget::Group(group), Rights::CHAT);
        (world, agent)
    }

    fn login(name: &str) -> Login {
        Login {
            user: user_id(name),
            remote: "127.0.0.1:4000".parse().unwrap(),
            method: Method::Password,
            token: None,
            at: crate::model::Millis(0),
            host: "board".into(),
            origin: None,
        }
    }

    /// The parameters of the link an agent is told to open.
    fn opened(agent: &crate::hub::AgentLink) -> (Value, String, String) {
        let Some(AgentCommand::Json(text)) = commands(agent).pop() else { panic!("a command") };
        let command: Value = serde_json::from_str(&text).unwrap();
        let url = command["url"].as_str().unwrap().to_owned();
        let (_, query) = url.split_once("/messenger?").unwrap();
        let [id, token] = ["id", "c"].map(|name| auth::param(query, name).unwrap());
        (command, id, token)
    }

    #[test]
    fn a_device_is_called_to_a_chat_by_a_link_that_works_once() {
        let (world, agent) = world();
        let bob = world.session("bob");
        let request = json!({"action": "meshmessenger", "nodeid": node_id(2).to_string()});
        assert!(ask(&bob, &request).is_empty(), "as in MeshCentral");
        let (command, id, token) = opened(&agent);
        assert_eq!(command["action"], "openUrl");
        assert_eq!(
            (&command["userid"], &command["username"]),
            (&json!("user//bob"), &json!("bob"))
        );
        assert_eq!(command["sessionid"], bob.link().id.to_string());
        assert_eq!(id, format!("meshmessenger/{}/user//bob", node_id(2)));
        let join = |token: &str| at_device(&world.control, &world.domain(), &id, token);
        assert_eq!(join("guess"), None);
        let joined = join(&token).unwrap();
        assert_eq!((&joined["who"], &joined["device"]), (&json!("bob"), &json!("vm")));
        assert!(joined["query"].as_str().unwrap().contains("&rauth="));
        assert_eq!(join(&token), None, "used");
        assert!(join(joined["next"].as_str().unwrap()).is_some());

        let with = |more: Value| {
            let mut request = request.clone();
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ask(&bob, &request).remove(0)["result"].clone()
        };
        assert_eq!(with(json!({"responseid": "R"})), "OK");
        let (_, _, void) = opened(&agent);
        assert_eq!(with(json!({"responseid": "R"})), "OK");
        assert_eq!(join(&void), None, "there is a newer one");
        world.hub.agent_gone(&agent);
        assert_eq!(with(json!({"responseid": "R"})), "Agent not connected");
    }

    #[test]
    fn an_account_is_asked_to_a_chat_by_a_notice() {
        let (world, _) = world();
        let (admin, bob) = (world.session("admin"), world.session("bob"));
        let ask_for = |who: &str| {
            let request = json!({"action": "meshmessenger", "userid": who, "responseid": "R"});
            ask(&admin, &request).remove(0)["result"].clone()
        };
        assert_eq!(ask_for("user//bob"), "OK");
        let mut notice = heard(&bob).remove(0);
        notice.as_object_mut().unwrap().remove("id");
        assert_eq!(
            notice,
            json!({"action": "msg", "type": "notify", "value": "Chat Request, Click here to accept.",
                "title": "admin", "userid": "user//admin", "username": "admin", "msgid": 11,
                "tag": "meshmessenger/user%2F%2Fbob/user%2F%2Fadmin"})
        );
        assert_eq!(ask_for("user//eve"), "User not connected");
        assert_eq!(ask_for("user//admin"), "Invalid userid");
    }

    #[test]
    fn the_cookie_of_a_chat_is_for_its_accounts_and_opens_nothing_else() {
        let (world, _) = world();
        let between = "meshmessenger/user//bob/user//admin";
        let at_device = format!("meshmessenger/{}/user//bob", node_id(2));
        let nobody = "meshmessenger/user//nobody/user//bob";
        for (who, id, good) in [
            ("bob", between, true),
            ("admin", between, true),
            ("eve", between, false),
            ("bob", &at_device, true),
            ("admin", &at_device, false),
            ("bob", nobody, false),
            ("bob", "meshmessenger/", false),
        ] {
            let joined = of_account(&world.control, &login(who), id);
            assert_eq!(joined.is_some(), good, "{who} {id}");
            let Some(joined) = joined else { continue };
            let query = joined["query"].as_str().unwrap();
            let asks = auth::Upgrade { query, ..upgrade(None) };
            assert!(world.enter(&asks).is_err(), "no session");
            let viewer = AtGate { gate: &world.control.gate, upgrade: asks };
            let cookie = auth::param(query, "auth").unwrap();
            let viewer = viewer.viewer_by_cookie(&cookie).unwrap();
            assert_eq!(viewer.user, user_id(who));
            assert_eq!(viewer.cookie[visitor::CHAT], id);
        }
        world.link("bob", LinkTarget::Group(super::super::testing::group_id(1)), Rights::RELAY);
        assert_eq!(of_account(&world.control, &login("bob"), &at_device), None);
    }
}
