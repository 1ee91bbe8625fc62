package seed
import ("testing";"time";"runtime";"os";"strings";"strconv";"fmt";"emporium/internal/postgres";"github.com/jackc/pgx/v5")
func cpu(t *testing.T, w *world) float64 {
 pids,err:=postgres.Select(t.Context(),w.dbs.Orders,postgres.Stmt{Name:"x",SQL:"select pid from pg_stat_activity where datname=current_database()"},pgx.RowTo[int]); must(t,err)
 s:=0.0
 for _,p:=range pids { b,_:=os.ReadFile(fmt.Sprintf("/proc/%d/stat",p)); f:=strings.Fields(string(b)[strings.LastIndex(string(b),")")+1:]); if len(f)>13 {u,_:=strconv.Atoi(f[11]);k,_:=strconv.Atoi(f[12]); s+=float64(u+k)/100}}
 return s
}
func TestZFull(t *testing.T){
 w:=newWorld(t,"EUR")
 began:=time.Now(); lap:=began; var peak uint64; c0:=0.0
 must(t,Bench(t.Context(),w.Services,func(what string,done,total int){ if done==total { c:=cpu(t,w); t.Log(what,done,total,time.Since(lap),"pg cpu",c-c0); c0=c; lap=time.Now() }; if done%20000==0 {var m runtime.MemStats; runtime.ReadMemStats(&m); peak=max(peak,m.HeapAlloc)} }))
 t.Log("vacuum etc",time.Since(lap),"total",time.Since(began),"peak heap MB",peak>>20,"pg cpu",cpu(t,w))
}
