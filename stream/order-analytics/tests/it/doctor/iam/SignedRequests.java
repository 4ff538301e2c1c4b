import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Accepts the tokens that brokers of MSK accept: requests for kafka-cluster:Connect, signed by the one access key of the test
 * for eu-central-1, while they are valid. The signature is computed anew, from AWS's description of version 4.
 */
public final class SignedRequests implements AuthenticateCallbackHandler {
    private static final String KEY = "AKIDEXAMPLE";
    private static final String SECRET = "a secret of this test";
    private static final String HOST = "kafka.eu-central-1.amazonaws.com";
    private static final DateTimeFormatter DATE =
        DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
    }

    @Override
    public void close() {
    }

    @Override
    public void handle(Callback[] callbacks) {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback validated) {
                try {
                    validated.token(accepted(validated.tokenValue()));
                } catch (Exception refused) {
                    validated.error("invalid_token", null, null);
                    System.err.println("refused: " + refused);
                }
            }
        }
    }

    private static OAuthBearerToken accepted(String token) throws Exception {
        String url = new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8);
        URI uri = URI.create(url);
        require("https".equals(uri.getScheme()) && HOST.equals(uri.getHost()) && "/".equals(uri.getPath()), "address");

        TreeMap<String, String> params = new TreeMap<>();
        for (String param : uri.getRawQuery().split("&")) {
            String[] parts = param.split("=", 2);
            params.put(decoded(parts[0]), decoded(parts[1]));
        }
        require(params.remove("User-Agent") != null, "agent");
        String signature = params.remove("X-Amz-Signature");
        require("kafka-cluster:Connect".equals(params.get("Action")), "action");
        require("AWS4-HMAC-SHA256".equals(params.get("X-Amz-Algorithm")), "algorithm");
        require("host".equals(params.get("X-Amz-SignedHeaders")), "headers");

        String date = params.get("X-Amz-Date");
        String day = date.substring(0, 8);
        String scope = day + "/eu-central-1/kafka-cluster/aws4_request";
        require((KEY + "/" + scope).equals(params.get("X-Amz-Credential")), "credential");
        require(expected(params, date, scope).equals(signature), "signature");

        long signedAtMs = Instant.from(DATE.parse(date)).toEpochMilli();
        long expiresAtMs = signedAtMs + 1000 * Long.parseLong(params.get("X-Amz-Expires"));
        require(expiresAtMs - signedAtMs <= 900_000 && expiresAtMs > System.currentTimeMillis(), "time");
        System.err.println("accepted: " + signature);
        return new Token(token, signedAtMs, expiresAtMs);
    }

    private static String expected(Map<String, String> params, String date, String scope) throws Exception {
        StringBuilder query = new StringBuilder();
        for (Map.Entry<String, String> param : params.entrySet()) {
            query.append(query.isEmpty() ? "" : "&").append(encoded(param.getKey())).append("=");
            query.append(encoded(param.getValue()));
        }
        String request = "GET\n/\n" + query + "\nhost:" + HOST + "\n\nhost\n" + hash("");
        String signed = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hash(request);

        byte[] key = ("AWS4" + SECRET).getBytes(StandardCharsets.UTF_8);
        for (String part : scope.split("/")) {
            key = mac(key, part);
        }
        return HexFormat.of().formatHex(mac(key, signed));
    }

    private static byte[] mac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String hash(String text) throws Exception {
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
        return HexFormat.of().formatHex(hash);
    }

    private static String decoded(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }

    private static String encoded(String text) {
        String encoded = URLEncoder.encode(text, StandardCharsets.UTF_8);
        return encoded.replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    private static void require(boolean holds, String part) {
        if (!holds) {
            throw new IllegalArgumentException("the token's " + part);
        }
    }

    private record Token(String value, Long startTimeMs, long lifetimeMs) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public String principalName() {
            return KEY;
        }
    }
}
