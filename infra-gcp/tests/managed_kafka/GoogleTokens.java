import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Accepts the tokens that brokers of Google's Managed Service for Apache Kafka accept: three parts in base64url, of which the last is
 * an access token. Here that is the one in GOOGLE_ACCESS_TOKEN, of the account in GOOGLE_ACCOUNT.
 */
public final class GoogleTokens implements AuthenticateCallbackHandler {
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
                } catch (RuntimeException refused) {
                    validated.error("invalid_token", null, null);
                    System.err.println("refused: " + refused);
                }
            }
        }
    }

    private static OAuthBearerToken accepted(String token) {
        String[] parts = token.split("\\.");
        require(parts.length == 3, "parts");
        require("GOOG_OAUTH2_TOKEN".equals(claim(parts[0], "\"alg\":\"([^\"]+)\"")), "algorithm");
        require(System.getenv("GOOGLE_ACCOUNT").equals(claim(parts[1], "\"sub\":\"([^\"]+)\"")), "account");
        require("kafka".equals(claim(parts[1], "\"scope\":\"([^\"]+)\"")), "scope");
        require(System.getenv("GOOGLE_ACCESS_TOKEN").equals(decoded(parts[2])), "access token");

        long expiresAtMs = 1000 * Long.parseLong(claim(parts[1], "\"exp\":(\\d+)"));
        long issuedAtMs = 1000 * Long.parseLong(claim(parts[1], "\"iat\":(\\d+)"));
        require(expiresAtMs > System.currentTimeMillis() && issuedAtMs <= System.currentTimeMillis(), "time");
        System.err.println("accepted: " + System.getenv("GOOGLE_ACCOUNT"));
        return new Token(token, issuedAtMs, expiresAtMs, System.getenv("GOOGLE_ACCOUNT"));
    }

    private static String claim(String part, String pattern) {
        Matcher matcher = Pattern.compile(pattern).matcher(decoded(part));
        require(matcher.find(), pattern);
        return matcher.group(1);
    }

    private static String decoded(String part) {
        return new String(Base64.getUrlDecoder().decode(part), StandardCharsets.UTF_8);
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new IllegalArgumentException(what);
        }
    }

    private record Token(String value, Long startTimeMs, long lifetimeMs, String principalName) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of("kafka");
        }
    }
}
