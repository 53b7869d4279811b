//! One order, from the account to the certificate.

use std::time::Duration;

use async_io::Timer;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::client::Client;
use super::memory::Memory;
use super::{AcmeError, Renewal};
use crate::config::{Acme, Challenge};
use crate::pool;

/// Waits between two looks at an order, in seconds; two minutes and a half together.
const LOOKS: [u64; 10] = [1, 1, 2, 3, 5, 8, 13, 25, 40, 50];

/// An account the authority does not know (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What the authority gave.
pub(super) struct Issued {
    /// The chain, leaf first, PEM.
    pub(super) chain: String,
    /// The leaf's key, PEM.
    pub(super) key: String,
}

impl From<Error> for AcmeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Http(_) | Error::InvalidUri(_) | Error::Other(_) | Error::Timeout(_) => {
                Self::Unreachable(error.to_string())
            }
            other => Self::Authority(other.to_string()),
        }
    }
}

/// Orders a certificate for all names.
pub(super) async fn order(
    renewal: &Renewal,
    wanted: &Acme,
    challenge: Challenge,
    memory: &mut Memory,
) -> Result<Issued, AcmeError> {
    let account = account(renewal, wanted, memory).await?;
    let names: Vec<_> = wanted.names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = match account.new_order(&NewOrder::new(&names)).await {
        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
            // The authority has lost it, or is another one by now. The next order makes another.
            memory.forget_account();
            keep(renewal, memory).await?;
            return Err(Error::Api(problem).into());
        }
        other => other?,
    };
    prove(renewal, &mut order, challenge).await?;
    match settled(&mut order, |status| status != OrderStatus::Pending).await? {
        OrderStatus::Ready | OrderStatus::Valid => {}
        _ => return Err(AcmeError::Authority(what_failed(&mut order).await)),
    }
    let key = order.finalize().await?;
    settled(&mut order, |status| status != OrderStatus::Processing).await?;
    let chain = order.certificate().await?;
    let chain = chain.ok_or_else(|| AcmeError::Authority("it takes too long".into()))?;
    Ok(Issued { chain, key })
}

/// The account at this authority, made if there is none yet, and kept at once.
async fn account(
    renewal: &Renewal,
    wanted: &Acme,
    memory: &mut Memory,
) -> Result<Account, AcmeError> {
    let ca_file = wanted.ca_file.clone();
    let client = pool::unblock(move || Client::new(ca_file.as_deref())).await?;
    let builder = Account::builder_with_http(Box::new(client));
    if let Some(credentials) = memory.account(&wanted.directory) {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact = wanted.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder.create(&new, wanted.directory.clone(), None).await?;
    memory.set_account(&wanted.directory, &credentials);
    keep(renewal, memory).await?;
    Ok(account)
}

async fn keep(renewal: &Renewal, memory: &Memory) -> Result<(), AcmeError> {
    let (memory, data) = (memory.clone(), renewal.data.clone());
    pool::unblock(move || memory.save(&data)).await.map_err(AcmeError::Disk)
}

/// Puts up a proof for every name that needs one, and says so.
async fn prove(renewal: &Renewal, order: &mut Order, kind: Challenge) -> Result<(), AcmeError> {
    let wanted = match kind {
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
        Challenge::Http => ChallengeType::Http01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            other => return Err(AcmeError::Authority(format!("an authorization is {other:?}"))),
        }
        let Some(mut challenge) = authorization.challenge(wanted.clone()) else {
            return Err(AcmeError::Authority(format!("it does not offer {}", kind.word())));
        };
        let proof = challenge.key_authorization();
        match kind {
            Challenge::Http => renewal.proofs.put(&challenge.token, proof.as_str()),
            Challenge::TlsAlpn => {
                let name = challenge.identifier().to_string();
                let shown = certificate(&name, proof.digest().as_ref());
                renewal.tls.show_proof(&name, shown.map_err(AcmeError::Authority)?);
            }
        }
        challenge.set_ready().await?;
    }
    Ok(())
}

/// The certificate that proves a name (RFC 8737, section 3).
fn certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let text = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(text)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(text)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let made = params.self_signed(&key).map_err(text)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = any_supported_type(&key).map_err(|error| error.to_string())?;
    // Not looked at by rustls, which knows no such extension.
    Ok(CertifiedKey::new(vec![made.der().clone()], key))
}

/// Looks at an order until its status is `settled`, or long enough.
async fn settled(
    order: &mut Order,
    settled: impl Fn(OrderStatus) -> bool,
) -> Result<OrderStatus, AcmeError> {
    let mut status = order.state().status;
    for seconds in LOOKS {
        if settled(status) {
            break;
        }
        Timer::after(Duration::from_secs(seconds)).await;
        status = order.refresh().await?.status;
    }
    Ok(status)
}

/// What the authority says of an order that came to nothing.
async fn what_failed(order: &mut Order) -> String {
    let mut all = Vec::new();
    all.extend(order.state().error.as_ref().map(ToString::to_string));
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        let errors = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        all.extend(errors.map(|error| format!("{name}: {error}")));
    }
    match all.is_empty() {
        true => "the names were not proven in time".to_owned(),
        false => all.join("; "),
    }
}
