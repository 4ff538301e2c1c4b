//! Mail servers with TLS, trusted and not.

use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::email::{Post, progress};
use crate::mail_server::{Encryption, MailServer};
use crate::order;

testbed::on_both_dynamodbs!(
    messages_and_passwords_go_by_tls_from_the_start_or_when_asked,
    a_server_that_nobody_vouches_for_gets_nothing,
    a_server_with_the_certificate_of_another_gets_nothing,
);

/// A self-signed certificate, and the acceptor of TLS connections with it.
struct Identity {
    acceptor: TlsAcceptor,
    authority: PathBuf,
    _folder: TempDir,
}

impl Identity {
    fn of(name: &str) -> Self {
        let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("authority.pem");
        std::fs::write(&authority, own.cert.pem()).unwrap();

        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let server = server
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();

        let server = server
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .unwrap();

        Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            authority,
            _folder: folder,
        }
    }

    /// Returns both ways of TLS: from the first byte, and by STARTTLS.
    fn encryptions(&self) -> [Encryption; 2] {
        [
            Encryption::FromTheStart(self.acceptor.clone()),
            Encryption::WhenAsked(self.acceptor.clone()),
        ]
    }
}

/// Returns the settings of a service that logs in to this server and trusts this authority as well.
async fn post_by(server: &MailServer, authority: Option<&PathBuf>) -> Post {
    let mut post = Post::by(server.url()).await;
    post.config.notifications_email_user = Some("shop".to_owned());
    post.config.notifications_email_password = "hush".parse().ok();
    post.config.notifications_email_authority = authority.cloned();
    post
}

async fn messages_and_passwords_go_by_tls_from_the_start_or_when_asked(dynamodb: Client) {
    let identity = Identity::of("127.0.0.1");
    for (number, encryption) in (1..).zip(identity.encryptions()) {
        let server = MailServer::open_with(encryption, &[]).await;
        let running = post_by(&server, Some(&identity.authority))
            .await
            .start(&dynamodb)
            .await;
        running.receive(&[order(number, number, 0)]).await;
        running.send().await;

        let sent = running.mailbox(&format!("user_id={number}")).await;
        assert_eq!(progress(&sent[0]), ("sent", 1, false), "{sent:?}");
        let mails = server.mails();
        assert!(mails.len() == 1 && mails[0].is_encrypted, "{mails:?}");
        assert_eq!(server.logins(), 1);
        running.stop().await;
    }
}

async fn a_server_that_nobody_vouches_for_gets_nothing(dynamodb: Client) {
    refused(&dynamodb, &Identity::of("127.0.0.1"), None).await;
}

async fn a_server_with_the_certificate_of_another_gets_nothing(dynamodb: Client) {
    let another = Identity::of("elsewhere.test");
    refused(&dynamodb, &another, Some(&another.authority)).await;
}

/// Asserts that a message waits, and that nothing is sent to a server that is not trusted.
async fn refused(dynamodb: &Client, identity: &Identity, authority: Option<&PathBuf>) {
    for (number, encryption) in (1..).zip(identity.encryptions()) {
        let server = MailServer::open_with(encryption, &[]).await;
        let running = post_by(&server, authority).await.start(dynamodb).await;
        running.receive(&[order(number, number, 0)]).await;
        running.send().await;

        let waiting = running.mailbox(&format!("user_id={number}")).await;
        assert_eq!(progress(&waiting[0]), ("pending", 1, true), "{waiting:?}");
        assert!(
            waiting[0]["last_error"]
                .as_str()
                .unwrap()
                .contains("certificate"),
            "{waiting:?}"
        );

        assert_eq!((server.mails().len(), server.logins()), (0, 0));
        running.stop().await;
    }
}
