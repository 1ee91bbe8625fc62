package seed
import ("testing";"emporium/internal/seal";"emporium/internal/auth")
func TestPhones(t *testing.T){
 for _,p:=range people { if p.Phone!="" { n,err:=seal.NormalizePhone(p.Phone,""); t.Log(n,err,n==p.Phone) } }
 for _,x:=range []string{"+4684650041","+46846500412","+4684650 0412","+46317402345","+353209123456","+358401234567","+43720123456","+493023125001","+447700900123","+14155550142","+33639980123"} { n,err:=seal.NormalizePhone(x,""); t.Log(x,n,err)}
 for _,a:=range Accounts(){ t.Log(a.Email, auth.CheckPassword(a.Password,a.Email,a.Label)) }
}
