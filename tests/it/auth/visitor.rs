//! A person with a browser that runs no scripts: follows links, fills in forms, keeps cookies, reads mail.

use std::collections::BTreeMap;
use std::fs;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};

use crate::app::{Answer, Ask, TestApp};

pub struct Visitor<'a> {
    pub app: &'a TestApp,
    client: Client,
    pub cookies: BTreeMap<String, String>,
    /// The form token of the page that was seen last.
    pub form_token: String,
}

impl TestApp {
    pub fn visitor(&self) -> Visitor<'_> {
        Visitor {
            app: self,
            client: Client::builder().no_proxy().redirect(Policy::none()).build().unwrap(),
            cookies: BTreeMap::new(),
            form_token: String::new(),
        }
    }

    /// Runs the jobs that wait, and gives the mails that this address got by them.
    pub async fn mails_to(&self, address: &str) -> Vec<String> {
        let folder = self.app.config.data_dir.join("mail");
        let _ = fs::remove_dir_all(&folder);
        self.app.worker().run_due().await.unwrap();
        let files = fs::read_dir(&folder).into_iter().flatten();
        let mails = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        mails
            .filter(|mail| mail.contains(&format!("To: {address}\r\n")))
            .collect()
    }

    /// The path of the link in the only mail that this address got.
    pub async fn mailed_link(&self, address: &str) -> String {
        let mails = self.mails_to(address).await;
        assert_eq!(mails.len(), 1, "{mails:?}");
        // Long lines are folded in the mail: a soft line break is `=` at the end of a line, and `=3D` is `=`.
        let text = mails[0].replace("=\r\n", "").replace("=3D", "=");
        let link = text
            .lines()
            .find_map(|line| line.strip_prefix(self.address.as_str()))
            .expect("a link");
        link.trim_end().to_owned()
    }
}

impl Visitor<'_> {
    async fn send(&mut self, request: RequestBuilder) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let answer = request.header("cookie", cookies.join("; ")).answer().await;
        for cookie in answer.headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            assert!(text.contains("; HttpOnly; SameSite=Lax"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        if answer.header("content-type").starts_with("text/html") {
            assert!(
                answer
                    .header("content-security-policy")
                    .contains("frame-ancestors 'none'")
            );
            assert_eq!(
                (answer.header("cache-control"), answer.header("referrer-policy")),
                ("no-store", "no-referrer")
            );
        }
        if let Some((_, rest)) = answer.text().split_once("name=\"form_token\" value=\"") {
            self.form_token = rest.split('"').next().unwrap().to_owned();
        }
        answer
    }

    /// Opens a page.
    pub async fn open(&mut self, path: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.app.address));
        self.send(request).await
    }

    /// Sends a form of the page that was seen last.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.form_token.clone();
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        self.submit_raw(path, &all, &[]).await
    }

    pub async fn submit_raw(&mut self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let mut request = self
            .client
            .post(format!("{}{path}", self.app.address))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.finish());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        self.open("/auth/sign-in").await.expect(200);
        self.submit("/auth/sign-in", &[("email", email), ("password", password)])
            .await
    }

    /// Signs up, follows the link, and is left signed out.
    pub async fn sign_up(&mut self, email: &str, password: &str) {
        self.open("/auth/sign-up").await.expect(200);
        let fields = [
            ("given", "Ada"),
            ("family", "Lovelace"),
            ("email", email),
            ("password", password),
        ];
        let sent = self.submit("/auth/sign-up", &fields).await;
        sent_to(&sent, "/auth/check-mail");
        let link = self.app.mailed_link(email).await;
        self.open(&link).await.expect(200);
        let secret = link.split_once("link=").unwrap().1;
        sent_to(
            &self.submit("/auth/confirm", &[("link", secret)]).await,
            "/auth/sign-in",
        );
        // That the account is open is told as well.
        self.app.app.worker().run_due().await.unwrap();
    }
}

/// Checks that a form ended in a redirection to this page.
#[track_caller]
pub fn sent_to(answer: &Answer, path: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, path),
        "{}",
        answer.text()
    );
}
